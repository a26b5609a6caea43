from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.media.features import FeatureFolders, read_array

VALUES = np.arange(60, dtype=np.float32).reshape(15, 4)


def npy(folder: Path, name: str = "v", values: np.ndarray = VALUES) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", values)
    return folder / f"{name}.npy"


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    npy(tmp_path)
    np.savez(tmp_path / "v.npz", feats=VALUES, other=VALUES[:3])
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        file["v_v"] = VALUES
    kinds = (
        FeatureFolders.of(str(tmp_path), "", ".npy", 4),
        FeatureFolders.of(str(tmp_path), "", ".npz", 4),
        FeatureFolders.of(str(tmp_path / "all.hdf5"), "v_", ".npy", 4),
    )
    for folders in kinds:
        features = folders.open("v", every=2)
        assert len(features) == 8
        assert np.array_equal(features.rows(), VALUES[::2])
        assert np.array_equal(features.rows(3, 5), VALUES[::2][3:5])
        assert folders.missing("v") is None
        assert folders.missing("w")


def test_folders_are_joined_by_channel(tmp_path: Path) -> None:
    npy(tmp_path / "a")
    npy(tmp_path / "b", values=-VALUES[:, :3])
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    for width in (7, (4, 3)):
        features = FeatureFolders.of(both, "", ".npy", width).open("v")
        assert np.array_equal(features.rows(), np.concatenate([VALUES, -VALUES[:, :3]], axis=1))
    with pytest.raises(KinoscopeError, match="8 channels"):
        FeatureFolders.of(both, "", ".npy", 8).open("v")
    with pytest.raises(KinoscopeError, match="4 channels were expected"):
        FeatureFolders.of(both, "", ".npy", (4, 4)).open("v")
    npy(tmp_path / "b", values=VALUES[:9])
    with pytest.raises(KinoscopeError, match=r"different lengths.*\[15, 9\]"):
        FeatureFolders.of(both, "", ".npy", 8).open("v")


def test_npy_files_are_not_read_whole(tmp_path: Path) -> None:
    assert isinstance(read_array(npy(tmp_path)), np.memmap)


@pytest.mark.parametrize("ending", ["npy", "npz", "hdf5"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, ending: str, keep: float) -> None:
    path = tmp_path / f"v.{ending}"
    if ending == "npy":
        np.save(path, VALUES)
    elif ending == "npz":
        np.savez(path, feats=VALUES)
    else:
        with h5py.File(path, "w") as file:
            file["v"] = VALUES
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(KinoscopeError, match=f"v.{ending}: .*(damaged|empty).*Remedy"):
        read_array(path, 4, "v")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VALUES.T, "on its side"),
        (VALUES[:, :3], r"4 channels were expected.*\(15, 3\).*data.input_dim=3"),
        (VALUES[0], "table of numbers"),
        (VALUES[None], "table of numbers"),
        (VALUES[:0], "no step"),
        (VALUES.astype(str), "table of numbers"),
        (np.array([{"a": 1}], object), "damaged"),
    ],
)
def test_wrong_arrays(tmp_path: Path, values: np.ndarray, words: str) -> None:
    with pytest.raises(KinoscopeError, match=words):
        read_array(npy(tmp_path, values=values), 4)


def test_nan_rows_are_found_where_they_are_read(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[6, 1] = np.nan
    values[8] = np.inf
    npy(tmp_path, values=values)
    features = FeatureFolders.of(str(tmp_path), "", ".npy", 4).open("v")
    assert len(features.rows(0, 6)) == 6
    with pytest.raises(KinoscopeError, match=r"2 of 12 rows.*NaN.*found 6"):
        features.rows(3)
