"""AdaFocus V2 and Uni-AdaFocus."""

from __future__ import annotations

import numpy as np
import torch

from golden.adafocus.setup import numpy, settings, tensors, weights
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition import exits
from kinoscope.recognition.models.adafocus_v2 import coarse_to_fine
from kinoscope.recognition.models.classifiers import PoolingClassifier
from kinoscope.recognition.models.policy import PositionPolicy
from kinoscope.recognition.models.uni_adafocus import frame_choice
from kinoscope.recognition.models.windows import soft_window
from kinoscope.recognition.official import load_named, pooling_names, position_names


def window(case: Case) -> Outputs:
    given = settings(case, {"version", "patch_size"})
    images, actions, weight = tensors(case, "images", "actions", "weight")
    if given["version"] not in ("v2", "uni"):
        raise ValueError(given["version"])
    actions.requires_grad_()
    smallest = 96 if given["version"] == "uni" else None
    patches = soft_window(images, actions, given["patch_size"], smallest)
    (patches * weight).sum().backward()
    assert actions.grad is not None
    return {"patches": numpy(patches), "action_gradient": numpy(actions.grad)}


def modules(case: Case) -> Outputs:
    given = settings(case, {"channels", "num_segments", "stn_hidden_dim", "input_dim", "num_classes"})
    maps, features = tensors(case, "maps", "features")
    policy = PositionPolicy(given["channels"], maps.shape[-1], given["stn_hidden_dim"])
    load_named(policy, weights(case), position_names(policy))
    theirs = weights(case, "policy_state", "policy_fill_exceptions")
    hidden = theirs["mlp.layers.0.weight"].shape[0]
    classifier = PoolingClassifier(given["input_dim"], given["num_classes"], given["num_segments"], hidden)
    load_named(classifier, theirs, pooling_names(classifier))
    policy.eval(), classifier.eval()
    with torch.no_grad():
        actions = policy(maps.unflatten(0, (-1, given["num_segments"])))
        logits = classifier(features)
    return {
        "actions": numpy(actions.flatten(0, 1)),
        "logits": numpy(logits.flatten(0, 1)),
        "last": numpy(logits[:, -1]),
        "input_order": np.array(coarse_to_fine(given["num_segments"])),
    }


def early_exit(case: Case) -> Outputs:
    given = settings(case, {"q", "flops_total"})
    train, val = tensors(case, "train_logits", "val_logits")
    steps = val.shape[1]
    costs = [given["flops_total"] * (k + 1) / steps for k in range(steps)]
    out: Outputs = {}
    for criterion in ("confidence", "entropy"):
        for q in given["q"]:
            limits = exits.thresholds(train, q, criterion)
            left = exits.leave(val, limits, costs, criterion)
            end = f"{criterion}_{q}"
            out[f"threshold_{end}"] = numpy(limits)
            out[f"exits_{end}"] = numpy(left.leaving)
            out[f"cost_{end}"] = np.array(left.cost)
            out[f"output_{end}"] = numpy(left.logits)
    return out


def uni_frame_choice(case: Case) -> Outputs:
    given = settings(case, {"num_segments", "num_focus_segments", "sharpness"})
    weight = (given["sharpness"] * tensors(case, "scores")[0]).softmax(-1)
    frames = given["num_segments"]
    index = frame_choice(weight, frames, given["num_focus_segments"])
    flat = index + torch.arange(len(index))[:, None] * frames
    return {"weights": numpy(weight), "indices": numpy(flat.flatten())}


RUNNERS: dict[str, Runner] = {
    "adafocus.soft_window": window,
    "adafocus.v2_modules": modules,
    "adafocus.early_exit": early_exit,
    "adafocus.uni_frame_choice": uni_frame_choice,
}
