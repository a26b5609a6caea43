"""`kinoscope prepare` for the data sets of CARL, on small downloads made here; what is damaged is listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from kinoscope.errors import KinoscopeError
from kinoscope.media.video import probe
from kinoscope.representation.official_data import read_entries, read_kinetics
from kinoscope.representation.prepare import prepare, thinned
from kinoscope.representation.published import PublishedSource, counted
from kinoscope.representation.settings import PublishedData

from .layouts import write_video
from .test_tfrecord import entry, field, framed, integers, jpeg


def record(name: str, frames: int, label: int = 1) -> bytes:
    context = entry("name", field(1, field(1, name.encode()))) + entry("len", integers([frames]))
    lists = entry("video", b"".join(field(1, field(1, field(1, jpeg(30 * k)))) for k in range(frames)))
    lists += entry("frame_labels", b"".join(field(1, integers([label])) for _ in range(frames)))
    return framed(field(1, context) + field(2, lists))


def test_pouring_records_become_videos_and_pickles(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "pouring_train-0-of-2.tfrecord").write_bytes(record("a", 4) + record("b", 5))
    (source / "pouring_train-1-of-2.tfrecord").write_bytes(record("c", 3))
    whole = record("d", 4) + record("e", 4)
    (source / "pouring_val-0-of-1.tfrecord").write_bytes(whole[:-9])
    told = prepare("pouring", source, target)
    assert told["videos"] == {"train": 3, "val": 1}
    assert "cut off" in told["skipped"]["pouring_val-0-of-1.tfrecord"]
    entries = read_entries(target / "pouring" / "train.pkl")
    assert [(e.id, e.name, e.seq_len) for e in entries] == [(0, "a", 4), (1, "b", 5), (2, "c", 3)]
    assert counted(target / "pouring" / entries[1].video_file) == 5
    assert probe(target / "pouring" / entries[1].video_file).fps == 25
    assert len(PublishedSource(PublishedData(root=str(target))).train) == 3
    changed = (target / "pouring" / "videos" / "a.mp4").stat().st_mtime_ns
    prepare("pouring", source, target)  # a restart writes no video again
    assert (target / "pouring" / "videos" / "a.mp4").stat().st_mtime_ns == changed


def test_a_record_with_a_damaged_frame_costs_itself(tmp_path: Path) -> None:
    good, bad = record("a", 3), record("b", 3)
    at = bad.index(b"\xff\xd8\xff")
    payload = bad[12:-4].replace(bad[at : at + 12], b"\x00" * 12)
    for split in ("train", "val"):
        (tmp_path / f"pouring_{split}-0.tfrecord").write_bytes(framed(payload) + good)
    told = prepare("pouring", tmp_path, tmp_path / "out")
    assert told["videos"] == {"train": 1, "val": 1}
    assert "cannot be read" in told["skipped"]["b"]


def penn(source: Path) -> None:
    for video, action, split, frames, labels in (
        ("0001", "squat", "train", 6, 6),
        ("0002", "bowl", "val", 7, 3),
        ("0003", "jump_rope", "train", 3, 3),
        ("0004", "squat", "train", 3, 0),
        ("0005", "squat", "train", 3, 3),
    ):
        folder = source / "Penn_Action" / "frames" / video
        folder.mkdir(parents=True)
        for k in range(frames):
            Image.fromarray(np.full((20, 30, 3), 30 * k, np.uint8)).save(folder / f"{k:06d}.jpg")
        (source / "Penn_Action" / "labels").mkdir(exist_ok=True)
        savemat(source / "Penn_Action" / "labels" / f"{video}.mat", {"action": np.array([action])})
        if labels:
            place = source / "penn_action_labels" / split / action
            place.mkdir(parents=True, exist_ok=True)
            np.save(place / f"{video}_x.npy", np.arange(labels) * 2 // labels)
    (source / "Penn_Action" / "frames" / "0005" / "000001.jpg").write_bytes(b"no picture")


def test_penn_action_from_its_original_files(tmp_path: Path) -> None:
    penn(tmp_path / "in")
    told = prepare("penn-action", tmp_path / "in", tmp_path / "out")
    assert told["videos"] == {"train": 1, "val": 1}
    assert set(told["skipped"]) == {"0004", "0005_squat"}
    (one,) = read_entries(tmp_path / "out" / "penn_action" / "train.pkl", action=10)
    assert (one.name, one.seq_len, one.frame_label.tolist()) == ("0001_squat", 6, [0, 0, 0, 1, 1, 1])
    (other,) = read_entries(tmp_path / "out" / "penn_action" / "val.pkl")
    info = probe(tmp_path / "out" / "penn_action" / other.video_file)
    assert (info.width, info.height, info.frames, other.seq_len) == (
        224,
        224,
        3,
        3,
    )  # thinned out to the labels
    assert (thinned(7, 3) == [0, 2, 4]).all()


def test_finegym_events_are_cut_where_they_begin(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    write_video(source / "FineGym_Raw_database" / "v1.mp4", 100, size=(64, 96))
    event = {
        "event": 3,
        "timestamps": [[1.0, 3.0]],
        "segments": {"A_0000_0001": {"timestamps": [[0.0, 1.0]]}},
    }
    bare = {"event": 1, "timestamps": [[0.0, 0.4]], "segments": None}
    late = {
        "event": 1,
        "timestamps": [[50.0, 51.0]],
        "segments": {"A_0000_0001": {"timestamps": [[0.0, 0.5]]}},
    }
    annotations = {"v1": {"E_1_3": event, "E_0_0": bare, "E_50_51": late}, "v2": {"E_1_3": event}}
    (source / "finegym_annotation_info_v1.0.json").write_text(json.dumps(annotations))
    listed = ["v1_E_1_3_A_0000_0001 7", "v2_E_1_3_A_0000_0001 7", "v1_E_50_51_A_0000_0001 2"]
    (source / "gym99_train_element_v1.0.txt").write_text("\n".join(listed))
    told = prepare("finegym", source, target)
    assert told["videos"] == {"gym99_train_v1.0": 1, "additional": 1}
    assert "missing" in told["skipped"]["v2_E_1_3"]
    assert "ends before" in told["skipped"]["v1_E_50_51"]
    (found,) = read_entries(target / "finegym" / "gym99_train_v1.0.pkl")
    assert (found.name, found.seq_len, found.label) == ("v1_E_1_3", 50, 3)
    assert found.frame_label.tolist() == [7] * 26 + [-1] * 24
    info = probe(target / "finegym" / found.video_file)
    assert (info.width, info.height, info.fps) == (640, 360, 25)
    (more,) = read_entries(target / "finegym" / "additional_v1.0.pkl")
    assert set(more.frame_label.tolist()) == {-1}


def test_kinetics_is_looked_over_and_listed(tmp_path: Path) -> None:
    write_video(tmp_path / "Kinetics400" / "train" / "bowl" / "a_0_10.mp4", 5)
    write_video(tmp_path / "Kinetics400" / "train" / "lunge" / "b_0_10.mp4", 5)
    (tmp_path / "Kinetics400" / "train" / "bowl" / "c_0_10.mp4").write_bytes(b"")
    told = prepare("kinetics400", tmp_path / "Kinetics400", tmp_path)
    assert list(told["skipped"]) == ["bowl/c_0_10.mp4"]
    rows = read_kinetics(tmp_path / "Kinetics400" / "train.csv")
    assert rows == [("Kinetics400/train/bowl/a_0_10.mp4", "0"), ("Kinetics400/train/lunge/b_0_10.mp4", "1")]
    source = PublishedSource(PublishedData(root=str(tmp_path), dataset="kinetics400"))
    assert [video.frames() for video in source.train] == [5, 5]
    assert source.evaluation_sets() == []


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("pouring", "curl -O https"),
        ("penn-action", "no phase labels"),
        ("finegym", "annotations cannot be read"),
        ("kinetics400", "there is no train"),
    ],
)
def test_an_empty_download_is_told_what_it_lacks(dataset: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match=told):
        prepare(dataset, tmp_path, tmp_path / "out")
    with pytest.raises(KinoscopeError, match="no such folder"):
        prepare(dataset, tmp_path / "nowhere", tmp_path / "out")
