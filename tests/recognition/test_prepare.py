"""Downloads become the layout that the recipes read: frames counted, damaged videos listed, stopped runs going on."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from kinoscope.cli import main
from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import count_frames, open_source, read_images
from kinoscope.recognition.prepare import prepare
from kinoscope.recognition.settings import FramesData, RecognitionSettings


def write_video(file: Path, frames: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            pixels = np.full((48, 64, 3), 20 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def download(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    write_video(source / "a" / "v_one.mp4", 5)
    write_video(source / "b" / "v_two.mkv", 7)
    (source / "b" / "v_broken.mp4").write_bytes(b"no video")
    (source / "classInd.txt").write_text("run\njump\n", encoding="utf-8")
    train = "v_one,999,0\nv_broken,100,1\nv_absent,100,1\n"
    (source / "actnet_train_split.txt").write_text(train, encoding="utf-8")
    (source / "actnet_val_split.txt").write_text("v_two,999,1,0\n", encoding="utf-8")
    return source


def recipe(target: Path, dataset: str) -> RecognitionSettings:
    return RecognitionSettings(data=FramesData.model_validate({"dataset": dataset, "data_dir": str(target)}))


def test_frames_are_counted_and_faults_listed(download: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert main(["prepare", "activitynet", str(download), str(target)]) == 0
    assert (target / "actnet_train_split.txt").read_text(encoding="utf-8") == "v_one,5,0\n"
    assert set(json.loads((target / "skipped.json").read_text(encoding="utf-8"))) == {"v_broken", "v_absent"}
    source = open_source(recipe(target, "actnet"))
    assert [(e.frames, e.labels) for e in source.test] == [(7, (0, 1))]
    (picture,) = read_images(source.test[0], [7])
    assert picture.size == (480, 360)


def test_a_stopped_run_goes_on(download: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    prepare("activitynet", download, target)
    mark = target / "frames" / "v_one" / "image_00001.jpg"
    before = mark.stat().st_mtime_ns
    (target / "frames" / "v_two").rename(target / "frames" / "v_two.part")  # killed while it was written
    (target / "frames" / "v_two.part" / "image_00007.jpg").unlink()
    prepare("activitynet", download, target)
    assert mark.stat().st_mtime_ns == before
    assert len(list((target / "frames" / "v_two").iterdir())) == 7
    assert not (target / "frames" / "v_two.part").exists()


def test_frames_are_optional(download: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    prepare("activitynet", download, target)
    (target / "videos").mkdir()
    (download / "b" / "v_two.mkv").rename(target / "videos" / "v_two.mkv")
    (target / "frames" / "v_two").rename(target / "elsewhere")
    entry = open_source(recipe(target, "actnet")).test[0]
    assert entry.path.suffix == ".mkv"
    assert count_frames(entry) == 7


def test_something_from_its_own_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("1", "2"):
        write_video(source / f"{name}.mp4", 4)
    (source / "labels.json").write_text(json.dumps({"Pushing something": "0", "Lifting something": "1"}))
    rows = [{"id": "1", "template": "Pushing [something]"}]
    (source / "train.json").write_text(json.dumps(rows))
    rows = [{"id": "2", "template": "Lifting [something]"}]
    (source / "validation.json").write_text(json.dumps(rows))
    prepare("something-v2", source, tmp_path / "target")
    opened = open_source(recipe(tmp_path / "target", "something-v2"))
    assert opened.classes == ["Lifting something", "Pushing something"]
    assert [e.labels for e in (*opened.train, *opened.test)] == [(1,), (0,)]
    assert (opened.train[0].path / "000001.jpg").is_file()


def test_missing_split_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(KinoscopeError, match=r"classInd\.txt"):
        prepare("fcvid", tmp_path / "source", tmp_path / "target")
