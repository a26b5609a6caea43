"""Official data-set files, configurations and FineGym's annotations; bad ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope.errors import KinoscopeError
from kinoscope.representation import finegym
from kinoscope.representation.official_config import load_config
from kinoscope.representation.official_data import DAMAGED, read_entries, read_kinetics


def row(labels: int = 3, **changes: object) -> dict:
    own = {"id": 0, "name": "a", "video_file": "videos/a.mp4", "seq_len": 3}
    return own | {"frame_label": torch.zeros(labels, dtype=torch.int64)} | changes


def test_labels_of_another_length_name_the_video(tmp_path: Path) -> None:
    path = tmp_path / "train.pkl"
    path.write_bytes(pickle.dumps([row(), row(labels=2, name="b")]))
    with pytest.raises(KinoscopeError, match=r"b\.frame_label.*found 2.*3 labels"):
        read_entries(path)


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], "text"])
def test_a_pickle_of_another_shape(tmp_path: Path, content: object) -> None:
    path = tmp_path / "train.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(KinoscopeError, match="no list of videos"):
        read_entries(path)


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.pkl"
    path.write_bytes(pickle.dumps([{"id": 0, "frame_label": torch.zeros(1)}]))
    with pytest.raises(KinoscopeError, match="name: a video lacks an entry"):
        read_entries(path)


def test_kinetics_leaves_out_damaged_files_and_names_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"Kinetics400/train/{DAMAGED[0]},7\nKinetics400/train/a/b.mp4,0\n")
    assert read_kinetics(path) == [("Kinetics400/train/a/b.mp4", "0")]
    path.write_text("Kinetics400/train/a/b.mp4\n")
    with pytest.raises(KinoscopeError, match="row 1"):
        read_kinetics(path)


def test_sections_merge_unless_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("SCL: {SOFTMAX_TEMPERATURE: 1e-1}\n")
    assert load_config(path)["SCL"]["LABEL_VARIENCE"] == 10.0
    assert load_config(path, replace=True)["SCL"] == {"SOFTMAX_TEMPERATURE": 0.1}
    path.write_text("TRAINING_ALGO: simclr\nSIMCLR: {SOFTMAX_TEMPERATURE: 1.0}\n")
    first_release = load_config(path)
    assert "SCL" not in first_release
    assert first_release["SIMCLR"]["LABEL_VARIENCE"] == 10.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SSL", "yes"], "SSL: this option is of type bool"),
        (["TRAIN.EPOCHS", "3"], "no such key"),
        (["TRAIN.MAX_EPOCHS"], "pairs"),
        (["TRAIN.MAX_EPOCHS", "many"], "of type int"),
    ],
)
def test_options_that_cannot_be(options: list[str], message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        load_config(options=options)


def test_additional_events_are_those_without_elements() -> None:
    annotations = {"v": {"E_1_2": {}, "E_3_4": {}}, "w": {"E_5_6": {}}}
    assert finegym.unlabelled_events(annotations, [{"v_E_1_2_A_0_1": 3}]) == ["v_E_3_4", "w_E_5_6"]


def test_finegym_faults(tmp_path: Path) -> None:
    path = tmp_path / "elements.txt"
    path.write_text("v_E_1_2_A_0_1\n")
    with pytest.raises(KinoscopeError, match="line 1"):
        finegym.read_elements(path)
    with pytest.raises(KinoscopeError, match="no such event"):
        finegym.events({}, {"v_E_1_2_A_0_1": 0}, lambda name: (25.0, 10))
    with pytest.raises(KinoscopeError, match="10 training videos"):
        finegym.linear_probe([], [], 5)


def test_the_linear_probe_learns_and_repeats_with_its_seed() -> None:
    draws = np.random.default_rng(0)
    labels = [draws.integers(-1, 3, 20) for _ in range(12)]
    pairs = [((np.eye(4)[y] + 0.1 * draws.standard_normal((20, 4))).astype(np.float32), y) for y in labels]
    first, again = (finegym.linear_probe(pairs, pairs, 3, 5.0, 10, seed=1) for _ in range(2))
    assert first.test == again.test > 95
