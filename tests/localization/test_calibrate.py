"""Temperature scaling: recovers a known temperature; the command writes it into the weights' recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope import cli, load
from kinoscope.engine.weights import save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.localization.calibrate import calibrate, fit_temperature, quality
from kinoscope.localization.predict import LocalizationModel
from kinoscope.localization.streams import StreamSource
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe

SMALL = [
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "data.test_subjects=[p07]",
]


def untrained(recipe: str) -> LocalizationModel:
    settings = load_recipe(recipe, SMALL)
    torch.manual_seed(0)
    return LocalizationModel(settings, StreamSource(settings.data, settings.model).about())


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    random = np.random.default_rng(0)
    true = torch.from_numpy(random.normal(-2, 2, (40000, 3)).astype(np.float32))
    targets = (torch.from_numpy(random.random((40000, 3))) < true.sigmoid()).float()
    found = fit_temperature(true * temperature, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    assert quality(true, targets)["calibration_error"] < 0.01
    assert quality(true * 4, targets)["calibration_error"] > 0.05


def test_the_command_writes_weights_with_the_temperature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = untrained("localization/actionformer_streams")
    save_weights(tmp_path / "raw", model.network.state_dict(), to_yaml(model.settings), model.about)
    arguments = ["calibrate", str(tmp_path / "raw"), "--output", str(tmp_path / "calibrated"), "--json"]
    assert cli.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["after"]["cross_entropy"] <= result["before"]["cross_entropy"]
    kept = load(tmp_path / "calibrated").settings.decode.score_temperature
    assert kept == pytest.approx(result["score_temperature"])


def test_heat_maps_are_refused() -> None:
    with pytest.raises(KinoscopeError, match="no temperature"):
        calibrate(untrained("localization/snapformer_streams"))
