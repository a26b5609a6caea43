"""Exported graphs: equal to the network, and their decoding on arrays equal to `predict`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinoscope import builtin, cli, load
from kinoscope.engine.weights import save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.localization.decode_arrays import decode_arrays, padded_features
from kinoscope.localization.export import export
from kinoscope.localization.predict import LocalizationModel
from kinoscope.localization.streams import StreamSource
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe

SMALL = [
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.head.cls_prior_prob=0.3",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "data.test_subjects=[p07]",
]


def untrained(recipe: str, folder: Path) -> LocalizationModel:
    settings = load_recipe(recipe, SMALL)
    about = StreamSource(settings.data, settings.model).about()
    model = LocalizationModel(settings, about)
    save_weights(folder, model.network.state_dict(), to_yaml(settings), about)
    loaded: LocalizationModel = load(folder)
    return loaded


@pytest.mark.parametrize("kind", ["snapformer", "tbtformer"])
def test_graph_and_arrays_give_the_events_of_predict(kind: str, tmp_path: Path) -> None:
    import onnxruntime

    model = untrained(f"localization/{kind}_streams", tmp_path / "weights")
    result = export(model, tmp_path / "graph", ("onnx",))
    assert max(result["deviation"]["onnx"].values()) < 1e-4
    assert len(result["deviation"]["onnx"]) == 3
    about = json.loads((tmp_path / "graph" / "graph.json").read_text())
    session = onnxruntime.InferenceSession(tmp_path / "graph" / "model.onnx")
    source = StreamSource(model.settings.data, model.settings.model)
    item = next(iter(source.test_items([0], {})))
    features, mask = padded_features(item.feats.numpy().T, about)
    given = session.run(about["outputs"], {"features": features, "mask": mask})
    outputs = dict(zip(about["outputs"], given, strict=True))
    found = decode_arrays(outputs, about, item.feats.shape[1], item.fps, item.duration)
    whole = model.predict(builtin.path("precog16"), everything=True)
    own = whole[whole.source == item.video_id]
    assert len(own) == len(found.score) > 10
    np.testing.assert_allclose(found.score, own.score, atol=1e-5)
    np.testing.assert_allclose(np.sort(found.start_s), np.sort(own.start_s), atol=1e-2)
    assert np.array_equal(np.bincount(found.label), np.bincount(own.label))
    if kind == "tbtformer":
        assert found.uncertainty_s is not None
        np.testing.assert_allclose(found.uncertainty_s.mean(), own.uncertainty_s.mean(), rtol=1e-3)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained("localization/actionformer_streams", tmp_path / "weights")
    arguments = ["export", str(tmp_path / "weights"), "--output", str(tmp_path / "out"), "--json"]
    arguments += ["--format", "torch"]
    assert cli.main(arguments) == 0
    assert set(json.loads(capsys.readouterr().out)["deviation"]) == {"torch"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"graph.json", "model.pt2"}


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    model = untrained("localization/actionformer_streams", tmp_path / "weights")
    with pytest.raises(KinoscopeError, match="holds other things"):
        export(model, tmp_path / "weights")
    assert (tmp_path / "weights" / "model.safetensors").is_file()


def test_decoding_needs_no_torch() -> None:
    code = "import kinoscope.localization.decode_arrays, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_features_that_do_not_fit_are_refused() -> None:
    about = {"multiple_of": 4, "padding": 1, "max_length": 16, "inputs": {"features": [1, 3, "T"]}}
    features, mask = padded_features(np.ones((7, 3), np.float32), about)
    assert features.shape == (1, 3, 12)
    assert mask.sum() == 7
    with pytest.raises(KinoscopeError, match="at most 16"):
        padded_features(np.ones((17, 3), np.float32), about)
    with pytest.raises(KinoscopeError, match=r"\(steps, 3\)"):
        padded_features(np.ones((7, 4), np.float32), about)
