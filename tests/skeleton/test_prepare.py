"""Preparing: raw files to arrays, damaged ones listed, a second run reads what the first one made."""

import pickle

import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.skeleton import prepare as room
from kinoscope.skeleton.data import official_arrays

BODY = "1 0 1 0 1 0 0 0 0 2"


def recording(folder, name, value):
    joints = [f"{value + j * 0.01} {j * 0.02} 2 " + " ".join(["0"] * 9) for j in range(25)]
    (folder / f"{name}.skeleton").write_text("\n".join(["3", *(["1", BODY, "25", *joints] * 3)]) + "\n")


def test_ntu(tmp_path):
    source, target = tmp_path / "raw" / "nested", tmp_path / "out"
    source.mkdir(parents=True)
    for performer in (1, 2, 3):
        recording(source, f"S001C00{performer}P00{performer}R001A002", performer)
    (source / "S001C001P001R001A003.skeleton").write_text("3\n1\n")
    result = room.prepare("ntu60", source.parent, target, workers=1)
    assert result["clips"] == {"xsub/train": 2, "xsub/val": 1, "xview/train": 2, "xview/val": 1}
    assert list(result["skipped"]) == ["S001C001P001R001A003.skeleton"]
    clips = official_arrays(target / "xsub", "train")
    assert clips.x.shape == (2, 3, 50, 25, 2)
    assert clips.labels.tolist() == [1, 1]
    for path in source.glob("*.skeleton"):
        path.write_text("damaged since")
    assert room.prepare("ntu60", source.parent, target, workers=1) == result  # from the finished block
    np.testing.assert_array_equal(official_arrays(target / "xsub", "train").x, clips.x)


def test_pku(tmp_path):
    for name in ("skeleton", "label", "split"):
        (tmp_path / name).mkdir()
    frame = " ".join(str(0.1 + k * 0.01) for k in range(75)) + " 0" * 75
    for video in ("0002-L", "0003-M", "0004-R"):
        (tmp_path / "skeleton" / f"{video}.txt").write_text("\n".join([frame] * 12) + "\n")
    for video in ("0002-L", "0003-M"):
        (tmp_path / "label" / f"{video}.txt").write_text("5,1,6,1\n7,7,12,1\n")
    for name in ("cross-subject", "cross-view"):
        (tmp_path / "split" / f"{name}.txt").write_text("Training\n0002-L,\nValidation\n0003-M\n")
    result = room.prepare("pku-mmd-1", tmp_path, tmp_path / "out", workers=1)
    assert result["clips"] == {"xsub/train": 2, "xsub/val": 2, "xview/train": 2, "xview/val": 2}
    assert result["skipped"] == {"0004-R.txt": "it has no label file"}
    names, labels = pickle.loads((tmp_path / "out" / "xsub" / "train_label.pkl").read_bytes())
    assert (names[0], labels) == ("F002V001C005L001.skeleton", [4, 6])


def test_nothing_there(tmp_path):
    with pytest.raises(KinoscopeError, match="no skeleton file"):
        room.prepare("ntu60", tmp_path, tmp_path / "out")


def test_official_arrays_are_taken_over(tmp_path):
    random = np.random.default_rng(0)
    for frames, kind in ((300, "data"), (50, "position")):
        source, target = tmp_path / kind, tmp_path / f"{kind}_out"
        (source / "xsub").mkdir(parents=True)
        x = random.standard_normal((3, 3, frames, 25, 2)).astype(np.float32)
        x[1] = 0
        for part in ("train", "val"):
            np.save(source / "xsub" / f"{part}_{kind}.npy", x)
            labels = pickle.dumps((["a", "b", "c"], [0, 1, np.int64(2)]))
            (source / "xsub" / f"{part}_label.pkl").write_bytes(labels)
        result = room.prepare("ntu60", source, target)
        kept = 2 if kind == "data" else 3
        assert result["clips"] == {"xsub/train": kept, "xsub/val": kept}
        assert list(result["skipped"]) == (["b"] if kind == "data" else [])
        assert room.prepare("ntu60", source, target)["clips"] == result["clips"]
        clips = official_arrays(target / "xsub", "val")
        assert clips.x.shape == (kept, 3, 50, 25, 2)
        if kind == "position":
            np.testing.assert_array_equal(clips.x, x)


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps((["a"], [-1])), "outside the classes"),
        (pickle.dumps((["a", "b"], [1])), "differ in number"),
        (pickle.dumps(Evil()), r"asks for builtins\.print"),
        (pickle.dumps((["a"], ["x"])), "cannot be read"),
        (b"", "cannot be read"),
        (b"\x80\x04garbage", "cannot be read"),
    ],
)
def test_bad_label_files(tmp_path, content, message, capsys):
    np.save(tmp_path / "train_position.npy", np.zeros((1, 3, 50, 25, 2), np.float32))
    (tmp_path / "train_label.pkl").write_bytes(content)
    with pytest.raises(KinoscopeError, match=message):
        official_arrays(tmp_path, "train")
    assert capsys.readouterr().out == ""


def test_bad_arrays(tmp_path):
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps((["a"], [0])))
    for array, message in (
        (np.zeros((1, 3, 50, 20, 2)), "a name a row"),
        (np.zeros((2, 3, 50, 25, 2)), "a name a row"),
    ):
        np.save(tmp_path / "train_position.npy", array)
        with pytest.raises(KinoscopeError, match=message):
            official_arrays(tmp_path, "train")
    (tmp_path / "train_position.npy").write_bytes(b"")
    with pytest.raises(KinoscopeError, match="cannot be read"):
        official_arrays(tmp_path, "train")
