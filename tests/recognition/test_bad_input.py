"""One message for everything that can be wrong with settings, files and videos; `check` tells it beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.check import check
from kinoscope.recognition.data import Clips, Entry, open_source
from kinoscope.recognition.models.windows import action_grid
from kinoscope.recognition.splits import read_split
from kinoscope.tasks import load_recipe


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """ActivityNet's layout with two videos of 4 frames and one of a single frame."""
    for name, count in (("a", 4), ("b", 4), ("c", 1)):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for k in range(1, count + 1):
            pixels = np.full((40, 50, 3), 40 * k, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "frames" / name / f"image_{k:05d}.jpg")
    (tmp_path / "classInd.txt").write_text("run\njump\n", encoding="utf-8")
    (tmp_path / "actnet_train_split.txt").write_text("a,4,0\n", encoding="utf-8")
    (tmp_path / "actnet_val_split.txt").write_text("b,4,1\n", encoding="utf-8")
    return tmp_path


def overrides(folder: Path, *more: str) -> tuple[str, ...]:
    small = ("model.input_size=64", "model.patch_size=32", "model.glance_size=64", "model.num_segments=4")
    return (*small, f"data.data_dir={folder}", *more)


def clips(folder: Path, name: str, count: int, segments: int = 4) -> Clips:
    return Clips([Entry(folder / "frames" / name, (0,), count, "image_{:05d}.jpg")], segments, 64)


def test_missing_frame(frames: Path) -> None:
    (frames / "frames" / "a" / "image_00002.jpg").unlink()
    with pytest.raises(KinoscopeError, match=r"image_00002.*this frame is missing"):
        clips(frames, "a", 4).exact(0)


def test_unreadable_image(frames: Path) -> None:
    (frames / "frames" / "a" / "image_00002.jpg").write_bytes(b"no picture")
    with pytest.raises(KinoscopeError, match=r"image_00002.*no readable image"):
        clips(frames, "a", 4).exact(0)


def test_fewer_frames_than_segments_repeat_the_last(frames: Path) -> None:
    clip = clips(frames, "a", 4, segments=6).exact(0).frames
    assert (clip[3] == clip[4]).all()
    assert (clip[4] == clip[5]).all()
    assert (clip[2] != clip[3]).any()


def test_a_single_frame_is_a_clip(frames: Path) -> None:
    clip = clips(frames, "c", 1).exact(0).frames
    assert (clip[0] == clip[3]).all()


def test_label_beyond_the_classes(frames: Path) -> None:
    (frames / "actnet_train_split.txt").write_text("a,4,0\nb,4,2\n", encoding="utf-8")
    with pytest.raises(KinoscopeError, match=r"line 2 lies beyond the 2 classes"):
        read_split(frames / "actnet_train_split.txt", ",", 2)


def test_patch_larger_than_the_frame(frames: Path) -> None:
    with pytest.raises(KinoscopeError, match="larger than the frame"):
        load_recipe("recognition/adafocus_activitynet_128", overrides(frames, "model.patch_size=96"))


def test_action_grid_that_is_no_square(frames: Path) -> None:
    with pytest.raises(KinoscopeError, match="square"):
        action_grid(48)
    settings = load_recipe("recognition/adafocus_activitynet_128", overrides(frames, "model.action_dim=48"))
    assert any("square" in error for error in check(settings)["errors"])  # type: ignore[arg-type]


def test_classes_of_the_test_that_are_not_trained(tmp_path: Path) -> None:
    for part, name in (("train", "run"), ("test", "fly")):
        (tmp_path / part / name).mkdir(parents=True)
        (tmp_path / part / name / "0.mp4").touch()
    where = (f"data.train={tmp_path / 'train'}", f"data.test={tmp_path / 'test'}")
    with pytest.raises(KinoscopeError, match="fly"):
        open_source(load_recipe("recognition/adafocus_v2_folder", where))  # type: ignore[arg-type]


def test_check_of_a_sound_recipe_and_of_faults(frames: Path) -> None:
    sound = check(load_recipe("recognition/adafocus_activitynet_128", overrides(frames)))  # type: ignore[arg-type]
    assert sound["errors"] == []
    (frames / "frames" / "a" / "image_00001.jpg").unlink()
    more = overrides(frames, "start=[absent.pth.tar]")
    faults = check(load_recipe("recognition/adafocus_activitynet_128", more))["errors"]  # type: ignore[arg-type]
    assert any("absent.pth.tar" in fault for fault in faults)
    assert any("image_00001" in fault for fault in faults)


def test_own_split_files_name_frames_and_classes(frames: Path) -> None:
    (frames / "own.csv").write_text("name,frames,class\nframes/a,4,run\nframes/c,1,jump\n", encoding="utf-8")
    where = (f"data.train={frames / 'own.csv'}", "model.input_size=64", "model.patch_size=32")
    source = open_source(load_recipe("recognition/adafocus_v2_folder", where))  # type: ignore[arg-type]
    assert source.classes == ["jump", "run"]
    assert [(e.frames, e.labels) for e in source.train] == [(4, (1,)), (1, (0,))]
    assert Clips(source.train, 2, 64, whole=True).exact(0).frames.shape == (2, 3, 64, 80)
    (frames / "own.csv").write_text("frames/a,four,run\n", encoding="utf-8")
    with pytest.raises(KinoscopeError, match="frames"):
        open_source(load_recipe("recognition/adafocus_v2_folder", where))  # type: ignore[arg-type]
