"""Real data that the package carries: no download, no network. Each folder holds its own LICENSE and README.

The licences differ from the code's: MIT (precog16), CMU's terms (cmu_streams), CC BY-SA 3.0 (hdm05_11),
CC BY 4.0 (asl), BSD 3-clause (multiview_small, sports2d_small).
"""

from __future__ import annotations

from pathlib import Path

from kinoscope.errors import KinoscopeError

ROOT = Path(__file__).parent

# name -> file or folder below this one
_PLACES = {
    "precog16": "precog16/precog16_p01_p08.npz",  # untrimmed Kinect streams: 8 people, 8 actions
    "cmu_streams": "cmu_streams/cmu_exercises.npz",  # untrimmed motion capture: 12 exercises
    "cmu_86": "cmu_streams/cmu_86_01.npz",  # one motion capture stream of 38 s
    "hdm05_11": "hdm05_11/hdm05_11_bd_bk_dg_mm.npz",  # 232 motion capture clips, 11 actions
    "asl": "asl",  # folder: 20 clips, one sign each
    "multiview_small": "multiview_small",  # folder: one movement in four views
    "sports2d_small": "sports2d_small/sports2d_small.mp4",  # one clip of several people
}
NAMES: tuple[str, ...] = tuple(_PLACES)


def path(name: str) -> Path:
    """The file (or, for several clips, the folder) of a built-in data set.

    Raises KinoscopeError for a name that is not in `NAMES`.

    >>> path("precog16").name
    'precog16_p01_p08.npz'
    """
    if name not in _PLACES:
        raise KinoscopeError(
            "there is no such built-in data set", field="name", value=name, remedy=f"one of {list(NAMES)}"
        )
    return ROOT / _PLACES[name]


def resolve(name_or_path: str | Path) -> Path:
    """`builtin:NAME` becomes the packaged file; any other path is returned as it is.

    >>> resolve("mine.npz").name
    'mine.npz'
    """
    text = str(name_or_path)
    return path(text.removeprefix("builtin:")) if text.startswith("builtin:") else Path(name_or_path)


def videos(name: str) -> list[Path]:
    """The clips of a built-in folder of videos (or the one clip), sorted by name."""
    place = path(name)
    return sorted(f for f in place.iterdir() if f.suffix in {".mkv", ".mp4"}) if place.is_dir() else [place]
