"""Backbones and classifiers."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from golden.adafocus.setup import buffers, gradients, numpy, settings, tensors, weights
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition.models.adafocus import step_loss
from kinoscope.recognition.models.backbones import (
    GlobalCNN,
    LocalCNN,
    temporal_shift,
)
from kinoscope.recognition.models.classifiers import GruClassifier, LinearClassifier
from kinoscope.recognition.official import (
    global_names,
    load_named,
    local_names,
    tsm_global_names,
    tsm_local_names,
)


def global_cnn(case: Case) -> Outputs:
    given = settings(case, {"num_classes", "mode", "dropout"})
    net = GlobalCNN(given["num_classes"], given.get("dropout", 0.2))
    names = global_names(net)
    load_named(net, weights(case), names)
    net.train(given["mode"] == "train")
    images = tensors(case, "images")[0]
    if given["mode"] == "eval":
        with torch.no_grad():
            maps, vector = net(images)
            return {
                "feature_map": numpy(maps),
                "feature": numpy(vector),
                "logits": numpy(net.predict(images)),
            }
    logits = net.predict(images)
    loss = F.cross_entropy(logits, tensors(case, "target")[0])
    loss.backward()
    return {
        "logits": numpy(logits),
        "loss/ce": numpy(loss),
        **gradients(net, names),
        **buffers(net, names),
    }


def local_cnn(case: Case) -> Outputs:
    given = settings(case, {"num_classes", "mode"}, {"patch_size"})
    net = LocalCNN(given["num_classes"])
    names = local_names(net)
    load_named(net, weights(case), names)
    net.train(given["mode"] == "train")
    patches = tensors(case, "patches")[0]
    if given["mode"] == "eval":
        with torch.no_grad():
            vector = net(patches)
            return {
                "pooled": numpy(vector[..., None, None]),
                "map": numpy(net.maps(patches)),
                "vector": numpy(vector),
                "logits": numpy(net.predict(patches)),
            }
    logits = net.predict(patches)
    loss = F.cross_entropy(logits, tensors(case, "target")[0])
    loss.backward()
    return {"logits": numpy(logits), "loss/ce": numpy(loss), **gradients(net, names), **buffers(net, names)}


def gru_classifier(case: Case) -> Outputs:
    given = settings(case, {"input_dim", "hidden_dim", "num_classes", "dropout"}, {"num_segments"})
    net = GruClassifier(
        given["input_dim"], given["hidden_dim"], given["num_classes"], given.get("dropout", 0.5)
    )
    net.load_state_dict(weights(case))
    features, other, target = tensors(case, "features", "alternative", "target")
    logits = net(features)
    loss = step_loss(logits, target)
    loss.backward()
    out = {
        "logits": numpy(logits.flatten(0, 1)),
        "last": numpy(logits[:, -1]),
        "loss/ce": numpy(loss),
        **gradients(net, {n: n for n in net.state_dict()}),
    }
    with torch.no_grad():
        _, probed = net.probe(features, other)
        hidden, steps = None, []
        for t in range(features.shape[1]):
            step, hidden = net.step(features[:, t], hidden)
            steps.append(numpy(step))
    return out | {"probe_logits": numpy(probed.transpose(0, 1)), "step_logits": np.stack(steps)}


def linear_classifier(case: Case) -> Outputs:
    given = settings(case, {"input_dim", "num_classes", "dropout"}, {"num_segments"})
    net = LinearClassifier(given["input_dim"], given["num_classes"], given.get("dropout", 0.0))
    net.load_state_dict(weights(case))
    features, target = tensors(case, "features", "target")
    log_probability, probability = net(features)
    loss = F.nll_loss(log_probability, target)
    loss.backward()
    return {
        "log_probability": numpy(log_probability),
        "probability": numpy(probability),
        "loss/nll": numpy(loss),
        **gradients(net, {n: n for n in net.state_dict()}),
    }


def shift(case: Case) -> Outputs:
    given = settings(case, {"n_segment", "shift_div"})
    return {"shifted": numpy(temporal_shift(tensors(case, "x")[0], given["n_segment"], given["shift_div"]))}


def tsm_global_cnn(case: Case) -> Outputs:
    given = settings(case, {"num_classes", "num_segments_glancer", "shift_div"}, {"train_stage"})
    net = GlobalCNN(given["num_classes"], 0.0, given["num_segments_glancer"], given["shift_div"])
    load_named(net, weights(case), tsm_global_names(net))
    net.eval()
    with torch.no_grad():
        maps, vectors = net(tensors(case, "images_flat")[0])
        return {"feature_map": numpy(maps), "logits": numpy(net.head(vectors))}


def tsm_local_cnn(case: Case) -> Outputs:
    given = settings(case, {"num_segments_focuser", "shift_div"}, {"train_stage", "patch_size"})
    net = LocalCNN(None, given["num_segments_focuser"], given["shift_div"])
    load_named(net, weights(case), tsm_local_names(net, ""))
    net.eval()
    with torch.no_grad():
        return {"feature": numpy(net(tensors(case, "patches")[0]))}


RUNNERS: dict[str, Runner] = {
    "adafocus.global_cnn": global_cnn,
    "adafocus.local_cnn": local_cnn,
    "adafocus.gru_classifier": gru_classifier,
    "adafocus.linear_classifier": linear_classifier,
    "adafocus.temporal_shift": shift,
    "adafocus.tsm_global_cnn": tsm_global_cnn,
    "adafocus.tsm_local_cnn": tsm_local_cnn,
}
