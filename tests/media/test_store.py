"""Feature stores: what is written is read, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.media.store import FeatureStore, StoreWriter
from kinoscope.timeline import TimeAxis

ENCODER = {"name": "toy", "window_frames": 16}
AXIS = TimeAxis(fps=30, stride_frames=4, window_frames=16)


def rows(length: int, channels: int = 3) -> np.ndarray:
    return np.arange(length * channels, dtype=np.float32).reshape(length, channels)


@settings(max_examples=30, deadline=None)  # every video is flushed to the disk
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=5), st.integers(1, 3)
)
def test_blocks_come_back_joined(videos: list[list[int]], parts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = {}
        for number, lengths in enumerate(videos):
            blocks = [rows(length) + 100 * number + k for k, length in enumerate(lengths)]
            with StoreWriter(folder, ENCODER, 3, part=number % parts) as writer:
                writer.add(f"v{number}", blocks, AXIS)
            truth[f"v{number}"] = np.concatenate(blocks)
        store = FeatureStore(folder)
        assert store.videos == sorted(truth)
        for name, values in truth.items():
            np.testing.assert_array_equal(store.features(name), values)
            assert store.axis(name) == AXIS


def test_a_video_that_fails_leaves_the_others(tmp_path: Path) -> None:
    def breaking() -> Iterator[np.ndarray]:
        yield rows(2)
        raise KinoscopeError("cut off")

    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("a", [rows(4)], AXIS)
        with pytest.raises(KinoscopeError, match="cut off"):
            writer.add("b", breaking(), AXIS)
        with pytest.raises(KinoscopeError, match="3 channels"):
            writer.add("b", [rows(4, 2)], AXIS)
        with pytest.raises(KinoscopeError, match="not finite"):
            writer.add("b", [np.full((1, 3), np.nan)], AXIS)
        with pytest.raises(KinoscopeError, match="not one step"):
            writer.add("b", [], AXIS)
        writer.add("c", [rows(1) + 7], AXIS, problem=lambda: "ends early")
    store = FeatureStore(tmp_path)
    assert store.videos == ["a", "c"]
    np.testing.assert_array_equal(store.features("c"), rows(1) + 7)
    assert store.entry("c").problem == "ends early"


KILLED = """
import os, sys
import numpy as np
from kinoscope.media.store import StoreWriter
from kinoscope.timeline import TimeAxis
def blocks():
    yield np.full((1000, 3), 9.0)
    os.kill(os.getpid(), 9)
with StoreWriter(sys.argv[1], {"name": "toy", "window_frames": 16}, 3) as writer:
    writer.add("b", blocks(), TimeAxis(30, 4, 16))
"""


def test_killed_in_a_video_goes_on_behind_the_last_whole_one(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("a", [rows(4)], AXIS)
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    assert FeatureStore(tmp_path).videos == ["a"]
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("b", [rows(2)], AXIS)
    store = FeatureStore(tmp_path)
    np.testing.assert_array_equal(store.features("a"), rows(4))
    np.testing.assert_array_equal(store.features("b"), rows(2))
    assert os.path.getsize(tmp_path / "part-000.bin") == 6 * 3 * 4


def test_restart_knows_the_source(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("a", [rows(4)], AXIS, source={"size": 5})
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        assert writer.holds("a", {"size": 5})
        assert not writer.holds("a", {"size": 6})
        writer.add("a", [rows(2) + 1], AXIS, source={"size": 6})
    np.testing.assert_array_equal(FeatureStore(tmp_path).features("a"), rows(2) + 1)


def test_half_precision(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, ENCODER, 3, dtype="float16") as writer:
        writer.add("a", [rows(4)], AXIS)
        with pytest.raises(KinoscopeError, match="float16 ends"):
            writer.add("b", [np.full((1, 3), 1e6)], AXIS)
    assert FeatureStore(tmp_path).features("a").dtype == np.float16


def test_one_writer_a_part(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, ENCODER, 3):
        with pytest.raises(KinoscopeError, match="another process"):
            StoreWriter(tmp_path, ENCODER, 3)
        with StoreWriter(tmp_path, ENCODER, 3, part=1) as other:
            other.add("a", [rows(1)], AXIS)


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("a", [rows(4)], AXIS)
    with pytest.raises(KinoscopeError, match="holds features of"):
        StoreWriter(tmp_path, {"name": "other"}, 3)
    with pytest.raises(KinoscopeError, match="holds features of"):
        StoreWriter(tmp_path, {"name": "other"}, 3, part=1)
    store = FeatureStore(tmp_path)
    store.require(ENCODER, "a", AXIS)
    with pytest.raises(KinoscopeError, match=r"'other'.*'toy'"):
        store.require({"name": "other"}, "a", AXIS)
    with pytest.raises(KinoscopeError, match=r"stride_frames=8.*stride_frames=4"):
        store.require(ENCODER, "a", AXIS.every(2))


def test_damage_is_told(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="no feature store"):
        FeatureStore(tmp_path)
    with StoreWriter(tmp_path, ENCODER, 3) as writer:
        writer.add("a", [rows(4)], AXIS)
    with pytest.raises(KinoscopeError, match="not in the store"):
        FeatureStore(tmp_path).features("b")
    array, index = tmp_path / "part-000.bin", tmp_path / "part-000.json"
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(KinoscopeError, match="shorter than the 48 bytes"):
        FeatureStore(tmp_path)
    index.write_text("{")
    with pytest.raises(KinoscopeError, match="damaged"):
        FeatureStore(tmp_path)
