"""Extraction of many videos: names, restart, bad files, shares of several processes, the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kinoscope import builtin
from kinoscope.cli import main
from kinoscope.cli.extract import read_shard
from kinoscope.encoders import Encoder, Preparation, Sampling
from kinoscope.encoders.folder import extract_all
from kinoscope.errors import KinoscopeError
from kinoscope.media.store import FeatureStore
from kinoscope.media.video_files import named_videos
from kinoscope.timeline import TimeAxis

SAMPLING = Sampling(window=4, stride=4, fps=20)


class Means(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).mean(2)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("toy", Means(), Preparation(32, (32, 32), (0.5,) * 3, (0.5,) * 3), weights="none")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "videos"
    shutil.copytree(builtin.path("multiview_small"), place)
    return place


def test_restart_goes_on_and_one_bad_video_costs_one(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    (folder / "bad.mp4").write_bytes(b"nothing")
    lines: list[str] = []
    store = tmp_path / "store"
    first = extract_all(encoder, SAMPLING, named_videos([folder]), store, report=lines.append)
    assert (first.videos, list(first.failed), len(lines)) == (4, ["bad"], 5)
    shutil.copy(builtin.videos("asl")[0], folder / "bad.mkv")
    (folder / "bad.mp4").unlink()
    again = extract_all(encoder, SAMPLING, named_videos([folder]), store)
    assert (again.videos, again.skipped, again.failed) == (1, 4, {})
    opened = FeatureStore(store)
    assert opened.videos == ["bad", "cam01", "cam02", "cam03", "cam04"]
    assert opened.axis("cam01") == TimeAxis(20, 4, 4)
    assert opened.features("cam01").shape == (34 // 4, 3)


def test_several_processes_fill_one_store(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    videos = named_videos([folder])
    extract_all(encoder, SAMPLING, videos, tmp_path / "one")
    for number in range(3):
        extract_all(encoder, SAMPLING, videos, tmp_path / "many", shard=(number, 3))
    one, many = FeatureStore(tmp_path / "one"), FeatureStore(tmp_path / "many")
    assert one.videos == many.videos
    for name in one.videos:
        np.testing.assert_array_equal(one.features(name), many.features(name))


def test_a_cut_off_video_is_kept_with_its_problem(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    whole = builtin.videos("asl")[0]
    cut = folder / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[:80_000])
    summary = extract_all(encoder, SAMPLING, {"cut": cut}, tmp_path / "store")
    assert list(summary.problems) == ["cut"]
    assert FeatureStore(tmp_path / "store").entry("cut").problem == summary.problems["cut"]


def test_names(folder: Path, tmp_path: Path) -> None:
    inside = folder / "more"
    inside.mkdir()
    shutil.copy(folder / "cam01.mp4", inside / "cam01.mp4")
    assert list(named_videos([folder])) == ["cam01", "cam02", "cam03", "cam04", "more/cam01"]
    with pytest.raises(KinoscopeError, match="same name"):
        named_videos([folder / "cam01.mp4", inside / "cam01.mp4"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(KinoscopeError, match="no video in this folder"):
        named_videos([tmp_path / "empty"])


def test_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    assert read_shard(None) == (0, 1)
    assert read_shard("2/5") == (2, 5)
    for name, value in (("ID", "4"), ("COUNT", "3"), ("MIN", "3")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert read_shard(None) == (1, 3)
    for wrong in ("5/5", "x/2", "1"):
        with pytest.raises(KinoscopeError, match="a shard is I/N"):
            read_shard(wrong)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import timm

    torch.manual_seed(0)
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), weights)
    command = [
        "extract",
        "timm/mobilenetv3_small_050",
        str(folder / "cam01.mp4"),
        "--output",
        str(tmp_path / "s"),
    ]
    command += ["--weights", str(weights), "--preset", "i3d", "--fps", "20", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["videos"], result["failed"]) == (1, {})
    assert result["frames_per_s"] > 0
    store = FeatureStore(tmp_path / "s")
    assert store.axis("cam01") == TimeAxis(20, 4, 16)
    assert store.features("cam01").shape == ((34 - 16) // 4 + 1, 1024)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    assert main([*command[:2], str(folder / "absent.mp4"), *command[3:]]) == 1
    assert "no such video" in capsys.readouterr().err
    assert main([*command, "--window", "0"]) == 1
    assert "--window" in capsys.readouterr().err


def test_several_processes_by_one_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm

    (folder / "bad.mp4").write_bytes(b"nothing")
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), weights)
    command = [
        "extract",
        "timm/mobilenetv3_small_050",
        str(folder),
        "--output",
        str(tmp_path / "s"),
        "--json",
    ]
    command += ["--weights", str(weights), "--fps", "2", "--processes", "2"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["videos"], list(result["failed"]), result["frames_per_s"] > 0) == (4, ["bad"], True)
    assert FeatureStore(tmp_path / "s").videos == ["cam01", "cam02", "cam03", "cam04"]
