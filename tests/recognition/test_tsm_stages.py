"""AdaFocus-TSM: all stages on a tiny data set in the official layout, and the TSM program's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.recognition.data import TwoSets, open_source
from kinoscope.recognition.models import AdaFocusTsm
from kinoscope.recognition.models.backbones import ShiftedConv2d
from kinoscope.recognition.official import load_tsm_program, tsm_global_names
from kinoscope.recognition.settings import RecognitionSettings
from kinoscope.recognition.stages import stages
from kinoscope.tasks import load_recipe

SMALL = {"num_segments_glancer": 2, "num_segments_focuser": 3, "patch_size": 32, "input_size": 64}


@pytest.fixture
def something(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "something-something-v1"
    frames = root / "20bn-something-something-v1"
    records = []
    draws = np.random.default_rng(0)
    for name in range(4):
        (frames / str(name)).mkdir(parents=True)
        for k in range(1, 6):
            pixels = draws.integers(0, 256, (70, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(frames / str(name) / f"{k:05d}.jpg")
        records.append(f"{name} 5 {name % 2}")
    (root / "category.txt").write_text("pushing\nlifting\n", encoding="utf-8")
    for split in ("train_videofolder.txt", "val_videofolder.txt"):
        (root / split).write_text("\n".join(records) + "\n", encoding="utf-8")
    return tmp_path / "data"


def recipe(data: Path, *more: str) -> RecognitionSettings:
    sizes = [f"model.{name}={value}" for name, value in SMALL.items()] + ["model.hidden_state_dim=8"]
    quick = [
        f"train.{stage}.{what}"
        for stage in ("prepare_global", "prepare_local", "stage1", "stage2", "stage3")
        for what in ("epochs=1", "batch_size=2", "validate_every=1")
    ]
    settings = load_recipe(
        "recognition/adafocus_tsm_something_v1_144", (*sizes, *quick, f"data.data_dir={data}", *more)
    )
    assert isinstance(settings, RecognitionSettings)
    return settings


def test_every_stage_runs_and_the_model_predicts(something: Path, tmp_path: Path) -> None:
    settings = recipe(something)
    final = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    again = load(tmp_path / "run").evaluate(tmp_path / "evaluation")
    assert again["top1"] == final["top1"]
    parts = again["gmacs"]
    sum_of_parts = parts["policy"] + 2 * parts["global"] + 3 * (parts["local"] + parts["classifier"])
    assert parts["total"] == pytest.approx(sum_of_parts)


def test_the_two_nets_see_frames_of_their_own(something: Path) -> None:
    clips = TwoSets(open_source(recipe(something)).train, (2, 3), 64)
    assert clips.exact(0).frames.shape == (5, 3, 64, 64)
    first, second = (clips.draw(0, np.random.default_rng(seed)).frames for seed in (0, 0))
    assert torch.equal(first, second)


def test_stage2_needs_stage1(something: Path, tmp_path: Path) -> None:
    settings = recipe(something)
    with pytest.raises(KinoscopeError, match="goes on from stage1"):
        train_stages(
            stages(settings), tmp_path / "run", to_yaml(settings), resume=False, only="stage2", quiet=True
        )


def test_files_of_the_tsm_program_fill_both_networks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = (AdaFocusTsm(2, **SMALL, hidden_state_dim=8) for _ in range(2))
    glancer = {
        name.replace("base_model.classifier.", "new_fc."): source.global_cnn.state_dict()[ours]
        for ours, name in tsm_global_names(source.global_cnn, "module.base_model.").items()
    }
    shifted = {n for n, part in source.local_cnn.named_modules() if isinstance(part, ShiftedConv2d)}
    focuser = {}
    for name, value in source.local_cnn.state_dict().items():
        layer, _, leaf = name.rpartition(".")
        focuser[f"module.base_model.{layer}.{'net.' if layer in shifted else ''}{leaf}"] = value
    focuser |= {f"module.new_fc.{n}": v for n, v in source.classifier.state_dict().items()}
    for number, state in enumerate((glancer, focuser)):
        torch.save({"state_dict": state}, tmp_path / f"{number}.pth.tar")
    assert load_tsm_program(target, tmp_path / "0.pth.tar") == ["global_cnn"]
    assert load_tsm_program(target, tmp_path / "1.pth.tar") == ["local_cnn", "classifier"]
    for part in ("global_cnn", "local_cnn", "classifier"):
        ours, theirs = (net.get_submodule(part).state_dict() for net in (target, source))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    broken = {k: v for k, v in glancer.items() if "features.3" not in k}
    torch.save({"state_dict": broken}, tmp_path / "broken.pth.tar")
    with pytest.raises(KinoscopeError, match="missing"):
        load_tsm_program(target, tmp_path / "broken.pth.tar")
