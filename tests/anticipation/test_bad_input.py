"""Bad files: one clear message each, and one bad row costs that row."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

from kinoscope.anticipation.annotations import anticipation_windows, read_actions, read_segments, seconds
from kinoscope.anticipation.features import FeatureStore
from kinoscope.anticipation.language import read_prototypes, sentences, visual_prototypes
from kinoscope.anticipation.models import Anticipator, AnticipatorConfig, DecoderConfig
from kinoscope.anticipation.official import load_exactly, load_parts, read_state
from kinoscope.anticipation.sampling import FrameSampling
from kinoscope.errors import KinoscopeError
from kinoscope.metrics.recall import class_mean_recall

ACTIONS = "id,verb,noun,action\n0,0,0,take cup\n1,1,0,wash cup\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_corrupt_row_costs_that_row(tmp_path: Path) -> None:
    actions = read_actions(written(tmp_path, "actions.csv", ACTIONS))
    rows = "1,P01_01,30,60,0,0,0\n2,P01_01,x,90,1,0,1\n3,P01_01,90,120,1,0,1\n"
    found = read_segments([written(tmp_path, "rows.csv", rows)], actions)
    assert found.uid == ("1", "3")
    assert len(found.skipped) == 1
    assert "row 2" in next(iter(found.skipped))


def test_unknown_pairs_have_no_action(tmp_path: Path) -> None:
    actions = read_actions(written(tmp_path, "actions.csv", ACTIONS))
    found = read_segments([written(tmp_path, "rows.csv", "1,P01_01,30,60,5,9,0\n")], actions)
    assert found.action.tolist() == [-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("id,verb,noun,action\n5,0,0,take cup\n", "not the number of its row"),
        ("id,verb,noun,action\n0,zero,0,take cup\n", "no action"),
    ],
)
def test_action_lists_are_checked(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        read_actions(written(tmp_path, "actions.csv", text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match=r"none\.csv"):
        read_actions(tmp_path / "none.csv")


def test_no_window_ends_later_than_tau_a_before_its_action(tmp_path: Path) -> None:
    """The leak test on annotation files; segments that start too early are set aside."""
    actions = read_actions(written(tmp_path, "actions.csv", ACTIONS))
    rows = "".join(f"{k},P01_01,{20 * k},{20 * k + 30},0,0,0\n" for k in range(1, 30))
    found = read_segments([written(tmp_path, "rows.csv", rows)], actions)
    windows = anticipation_windows(found, 1.0, 5.0)
    assert (windows.end <= windows.segments.start - 1.0 + 1e-9).all()
    assert (windows.end > 0).all()
    assert len(windows.discarded) + len(windows.segments) == len(found)
    assert (windows.discarded.start < 1.0 + 1 / 30).all()
    with pytest.raises(KinoscopeError, match="drop style"):
        anticipation_windows(found, 1.0, 5.0, "none")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    with lmdb.open(str(tmp_path / "rgb"), map_size=2**20) as environment, environment.begin(write=True) as t:
        for number in (1, 2, 3, 30):
            t.put(f"P01_01_frame_{number:010d}.jpg".encode(), np.full(4, number, np.float32).tobytes())
    return FeatureStore([tmp_path / "rgb"])


def test_missing_keys_are_searched_backwards_then_blank(store: FeatureStore) -> None:
    found = store.frames("P01_01", np.array([3, 12, 13, 30]))
    assert found[:, 0].tolist() == [3, 3, 0, 30]


def test_a_video_without_any_key_is_named(store: FeatureStore) -> None:
    with pytest.raises(KinoscopeError, match="P09_09"):
        store.frames("P09_09", np.array([1]))


def test_a_window_before_the_video_is_refused(store: FeatureStore) -> None:
    with pytest.raises(KinoscopeError, match="no frame"):
        store.window("P01_01", -2.0, -1.0, FrameSampling(2))


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match=r"data\.mdb"):
        FeatureStore([tmp_path / "flow"])


def test_label_lists_of_other_data_sets_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="--dataset"):
        sentences(written(tmp_path, "labels.csv", "0,1\n"), "epic55")


def test_prototype_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="prototypes"):
        read_prototypes(written(tmp_path, "encodings.pth", "text"))


def test_empty_classes_keep_their_language_vector() -> None:
    import torch

    rows = visual_prototypes({0: [[1.0, 3.0], [3.0, 5.0]], 1: []}, torch.ones(2, 2))
    assert rows.tolist() == [[2, 4], [1, 1]]


def test_checkpoints_of_other_classes_are_refused() -> None:
    decoder = DecoderConfig(inter_dim=16, n_layer=1, n_head=2, positions=16)

    def model(classes: int) -> Anticipator:
        config = AnticipatorConfig(
            {"action": classes}, 3, backbone_dim=8, intermediate_featdim=64, decoder=decoder
        )
        return Anticipator(config)

    with pytest.raises(KinoscopeError, match="does not fit"):
        load_exactly(model(5), {"vis_prototypes": model(4).prototypes.detach()})
    with pytest.raises(KinoscopeError, match="load nothing"):
        load_parts(model(5), {"prototypes": model(4).prototypes.detach()}, ["prototypes"])


def test_checkpoints_that_would_run_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="without running code"):
        read_state(written(tmp_path, "a.pth", "no checkpoint"))


def test_rows_without_label_do_not_count() -> None:
    scores = np.eye(6)[[0, 1, 2]]
    assert class_mean_recall(scores, np.array([0, -1, 2]), k=1) == 100


def test_times_of_annotations() -> None:
    assert seconds("01:00:00.5") == 3600.5
    with pytest.raises(ValueError):
        seconds("soon")
