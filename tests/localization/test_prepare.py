from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinoscope import cli
from kinoscope.errors import KinoscopeError
from kinoscope.localization.prepare import on_grid, prepare

KINDS = {"slowfast8x8_r101_k400": 4, "omnivore_video_swinl": 5}


def clip(uid: str, start: int, end: int, *labels: tuple[str, float, float]) -> dict[str, Any]:
    rows = [
        {
            "primary": True,
            "label": label,
            "video_start_time": a,
            "video_end_time": b,
            "video_start_frame": round(a * 30),
            "video_end_frame": round(b * 30),
        }
        for label, a, b in labels
    ]
    return {
        "clip_uid": uid,
        "video_start_sec": start / 30,
        "video_end_sec": end / 30,
        "video_start_frame": start,
        "video_end_frame": end,
        "annotations": [{"labels": rows}],
    }


def download(folder: Path) -> Path:
    """A small official download: two training videos and one for validation."""
    train = [
        {
            "video_uid": "a",
            "split": "train",
            "clips": [clip("a1", 5, 300, ("wash", 1, 4), ('"cut, chop"', 5, 7))],
        },
        {"video_uid": "b", "split": "train", "clips": [clip("b1", 0, 200, ("cook", 2, 3))]},
    ]
    val = [
        {"video_uid": "c", "split": "val", "clips": [clip("c1", 160, 400, ("wash", 6, 9)), clip("c2", 0, 90)]}
    ]
    (folder / "annotations").mkdir(parents=True)
    for part, videos in (("train", train), ("val", val)):
        (folder / f"annotations/moments_{part}.json").write_text(json.dumps({"videos": videos}))
    for kind, width in KINDS.items():
        (folder / "features" / kind).mkdir(parents=True)
        for video in "abc":
            torch.save(torch.randn(30, width), folder / "features" / kind / f"{video}.pt")
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_clips_and_annotations(tmp_path: Path) -> None:
    source, target = download(tmp_path / "in"), tmp_path / "out"
    assert cli.main(["prepare", "ego4d", str(source), str(target)]) == 0
    database = json.loads((target / "annotations/ego4d.json").read_text())["database"]
    assert list(database) == ["a1", "b1", "c1"]
    ids = {row["label"]: row["label_id"] for e in database.values() for row in e["annotations"]}
    assert ids == {'"cut, chop"': 0, "cook": 1, "wash": 2}
    whole = torch.load(source / "features/omnivore_video_swinl/c.pt").numpy()
    assert np.array_equal(np.load(target / "omnivore_features/c1.npy"), whole[10:23])
    assert (target / "slowfast_features/c2.npy").is_file()
    assert not list(target.rglob("*.partial"))


def test_started_again_it_does_what_is_left(tmp_path: Path) -> None:
    source, target = download(tmp_path / "in"), tmp_path / "out"
    assert prepare("ego4d", source, target)["written"] == 4
    before = everything(target)
    (target / "omnivore_features/b1.npy").unlink()
    (target / "slowfast_features/c1.npy").write_bytes(b"half")
    (target / "annotations/ego4d.json").unlink()
    assert prepare("ego4d", source, target)["written"] == 2
    assert everything(target) == before
    assert prepare("ego4d", source, target)["written"] == 0


def test_a_bad_video_or_clip_costs_only_itself(tmp_path: Path) -> None:
    source, target = download(tmp_path / "in"), tmp_path / "out"
    file = source / "features/slowfast8x8_r101_k400/a.pt"
    file.write_bytes(file.read_bytes()[:100])
    (source / "features/slowfast8x8_r101_k400/b.pt").unlink()
    torch.save(torch.randn(20, 4), source / "features/slowfast8x8_r101_k400/c.pt")
    done = prepare("ego4d", source, target)
    assert "cannot be read" in done["skipped"]["a1"]
    assert "missing" in done["skipped"]["b"]
    assert "rows 10 to 23 are wanted of 20" in done["skipped"]["c1"]
    assert [path.name for path in (target / "slowfast_features").iterdir()] == ["c2.npy"]


def test_frames_and_seconds_that_disagree() -> None:
    wrong = clip("x", 0, 300) | {"video_end_sec": 1.0}
    with pytest.raises(KinoscopeError, match="disagree"):
        on_grid(wrong, {})


def test_another_folder_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["prepare", "ego4d", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "moments_train.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
