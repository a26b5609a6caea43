from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kinoscope import models
from kinoscope.engine.weights import find_weights, load_weights, save_weights
from kinoscope.errors import KinoscopeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_weights(tmp_path / "w", {"a": torch.arange(6.0)}, "task: localization\n", {"stage": "x"})
    return tmp_path / "w"


def test_weights_come_back(folder: Path) -> None:
    weights = load_weights(folder)
    assert torch.equal(weights.state["a"], torch.arange(6.0))
    assert weights.about == {"format": 1, "stage": "x"}
    assert find_weights(folder) == folder


def test_truncated_weights_are_told(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(KinoscopeError, match="damaged"):
        load_weights(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "about.json").unlink()
    with pytest.raises(KinoscopeError, match=r"about\.json is missing"):
        load_weights(folder)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="no trained weights"):
        find_weights(tmp_path)
    with pytest.raises(KinoscopeError, match="no such file"):
        models.load(tmp_path / "none")


def test_an_official_checkpoint_needs_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "epoch_034.pth.tar").write_bytes(b"")
    with pytest.raises(KinoscopeError, match="--recipe"):
        models.load(tmp_path / "epoch_034.pth.tar")
    with pytest.raises(KinoscopeError, match=r"cannot be read|can be read"):
        models.load(tmp_path / "epoch_034.pth.tar", "localization/actionformer_thumos_i3d")
