"""A run of the official program, gone on with: to the same bits as if it had been ours from the start."""

from __future__ import annotations

import pytest
import torch

from kinoscope import cli
from kinoscope.engine import checkpoint
from kinoscope.engine.weights import load_weights
from kinoscope.localization.build import model_config
from kinoscope.localization.models import localizer
from kinoscope.localization.official import official_name, to_official
from kinoscope.localization.parameter_groups import decayed_names
from kinoscope.localization.sources import open_source
from kinoscope.tasks import load_recipe

from .layouts import RECIPES, TINY, write_dataset


def as_official(state, model):
    """The engine's checkpoint in the form of the official training program."""
    names = {name: official_name(name, model) for name in dict(model.named_parameters())}
    decayed = decayed_names(model)
    order = sorted(names, key=lambda name: (name not in decayed, names[name]))
    ours = [p for group in state["optimizer"]["param_groups"] for p in group["params"]]
    groups = [sorted(decayed), sorted(set(names) - decayed)]
    by_name = dict(zip([name for group in groups for name in group], ours, strict=True))

    def converted(weights):
        model.load_state_dict(weights)
        return {f"module.{name}": value.clone() for name, value in to_official(model).items()}

    shapes = to_official(model)
    states = {
        k: {
            key: value.reshape(shapes[names[name]].shape) if value.ndim else value
            for key, value in state["optimizer"]["state"][by_name[name]].items()
        }
        for k, name in enumerate(order)
    }
    sizes = len(decayed), len(order)
    return {
        "epoch": state["position"]["epoch"],
        "state_dict": converted(state["model"]),
        "state_dict_ema": converted(state["average"]),
        "optimizer": {
            "state": states,
            "param_groups": [{"params": list(range(sizes[0]))}, {"params": list(range(*sizes))}],
        },
        "scheduler": {},
        "loss_normalizer": state["stage"]["value"],
    }


@pytest.fixture
def runs(tmp_path):
    """(arguments of a run of three epochs, folder of the whole run, official file after its second epoch)."""
    recipe = RECIPES["thumos"]
    chosen = [
        *TINY, *write_dataset(tmp_path, "thumos"), "train.epochs=2", "train.validate_every=9", "train.keep=last",
        "train.checkpoint_every=1", "train.keep_checkpoints=9",
    ]  # fmt: skip
    assert cli.main(["train", recipe, *chosen, "--output", str(tmp_path / "whole"), "--quiet"]) == 0
    settings = load_recipe(recipe, chosen)
    model = localizer(model_config(settings.model, open_source(settings.data, settings.model)))
    folder = tmp_path / "whole" / "checkpoints" / "localization"
    second = sorted(folder.glob("*"))[1]
    torch.save(as_official(checkpoint.load(second), model), tmp_path / "epoch_002.pth.tar")
    return [recipe, *chosen], tmp_path / "whole", tmp_path / "epoch_002.pth.tar"


def test_goes_on_to_the_same_bits(runs, tmp_path):
    arguments, whole, file = runs
    more = ["--resume-official", str(file), "--output", str(tmp_path / "rest"), "--quiet"]
    assert cli.main(["train", *arguments, *more]) == 0
    states = [load_weights(run / "weights" / "localization").state for run in (whole, tmp_path / "rest")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    steps = (tmp_path / "rest" / "metrics.jsonl").read_text()
    assert '"epoch": 0' not in steps


def test_a_file_without_a_run_is_refused(runs, tmp_path, capsys):
    arguments, _, file = runs
    content = torch.load(file, weights_only=True)
    del content["optimizer"]
    torch.save(content, file)
    more = ["--resume-official", str(file), "--output", str(tmp_path / "rest")]
    assert cli.main(["train", *arguments, *more]) == 1
    assert "does not hold a run that can be gone on with" in capsys.readouterr().err
    assert not (tmp_path / "rest").exists()
