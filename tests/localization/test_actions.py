"""Actions from verbs and nouns: products of scores at the same points, averaged segments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope import cli
from kinoscope.engine.weights import save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.localization.actions import ActionModel
from kinoscope.localization.predict import LocalizationModel
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe

from .layouts import NAMES, TINY, write_dataset


def models(folder: Path) -> tuple[LocalizationModel, LocalizationModel]:
    """Two untrained models with lively scores on one small data set."""
    chosen = write_dataset(folder, "epic")
    found = []
    for seed, kind in enumerate(("verb", "noun")):
        settings = load_recipe(
            f"localization/actionformer_epic_{kind}",
            [*TINY, *chosen, "model.head.cls_prior_prob=0.3", "decode.nms_method=none"],
        )
        torch.manual_seed(seed)
        about = {"label_names": NAMES, "num_classes": 3, "input_dim": 8, "max_seq_len": 32}
        found.append(LocalizationModel(settings, about))
        with torch.no_grad():
            found[-1].network.reg_head.tower.output.bias.add_(2)  # no segment is too short
        save_weights(folder / kind, found[-1].network.state_dict(), to_yaml(settings), about)
    return found[0], found[1]


def test_scores_are_products_and_segments_means(tmp_path: Path) -> None:
    verb, noun = models(tmp_path)
    found = ActionModel(verb, noun).predict(tmp_path / "features0" / "video_7.npz")
    parts = [m.predict(tmp_path / "features0" / "video_7.npz", everything=True) for m in (verb, noun)]
    assert len(found) == 9 * len(parts[0]) / 3  # every point has each of the nine pairs
    k = int(np.argmax(found.score))
    v, n = divmod(int(found.label[k]), 3)
    assert found.name(int(found.label[k])) == f"{NAMES[v]} {NAMES[n]}"
    mine, theirs = (p[p.label == label] for p, label in zip(parts, (v, n), strict=True))
    product = mine.score[:, None] * theirs.score[None]
    middle = (mine.start_s[:, None] + theirs.start_s[None]) / 2
    near = np.isclose(product, found.score[k], rtol=1e-5) & np.isclose(middle, found.start_s[k], atol=1e-4)
    assert near.any()


def test_evaluation_and_prediction_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models(tmp_path)
    command = [
        "actions",
        str(tmp_path / "verb"),
        str(tmp_path / "noun"),
        "--set",
        "decode.nms_method=soft",
        "--json",
    ]
    assert cli.main([*command, "--output", str(tmp_path / "out")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["mAP"]) == {"0.1", "0.2", "0.3", "0.4", "0.5"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "predictions.json",
        "submission.json",
        "evaluation.json",
    }
    assert cli.main([*command[:3], str(tmp_path / "features0" / "video_7.npz"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]["video_7"]
    assert rows[0].keys() == {"verb", "noun", "action", "score", "segment"}


def test_ground_truth_joins_rows_and_refuses_other_segments(tmp_path: Path) -> None:
    verb, noun = models(tmp_path)
    truth = ActionModel(verb, noun).truth(["video_7"])
    assert sorted(truth.label.tolist()) == [0, 4, 8]
    table = json.loads((tmp_path / "annotations.json").read_text())
    table["database"]["video_7"]["annotations"][0]["segment"][0] += 0.01
    (tmp_path / "other.json").write_text(json.dumps(table))
    data = noun.settings.data.model_copy(update={"annotations": str(tmp_path / "other.json")})
    noun.settings = noun.settings.model_copy(update={"data": data})
    with pytest.raises(KinoscopeError, match="other segments"):
        ActionModel(verb, noun).truth(["video_7"])


def test_models_of_other_pyramids_are_refused(tmp_path: Path) -> None:
    verb, noun = models(tmp_path)
    object.__setattr__(noun.config, "max_seq_len", 64)
    with pytest.raises(KinoscopeError, match="do not share"):
        ActionModel(verb, noun)
