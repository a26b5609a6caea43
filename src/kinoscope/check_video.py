"""`kinoscope check MODEL VIDEO...`: whether a trained model can take videos, and what to do where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinoscope.errors import KinoscopeError
from kinoscope.extractor import POSE, TRAINED
from kinoscope.from_video import VideoModel, encoder_of, joints_of, reads, require_pose_joints
from kinoscope.media import blazepose
from kinoscope.media.video import probe

SAME_RATE = 1.15  # frame rates that differ by less are the same to a model


def check_videos(model: VideoModel, inputs: Sequence[str | Path]) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}, each a list of sentences."""
    found: dict[str, list[str]] = {"errors": [], "warnings": [], "advice": []}
    kind = reads(model.model)
    found["advice"].append(f"The model reads {kind}.")
    window = 1.0
    trained_fps: float | None = None
    if kind == "skeletons":
        _skeletons(model, found)
    elif kind == "features":
        window, trained_fps = _features(model, inputs, found)
    for path in inputs:
        try:
            info = probe(path)
        except KinoscopeError as error:
            found["errors"].append(str(error))
            continue
        length = info.duration_s or (info.frames or 0) / info.fps
        if length and length * info.fps < window:
            found["warnings"].append(
                f"{path}: {length * info.fps:.0f} frames are less than the {window:g} of one step; the last is "
                "repeated."
            )
        ratio = info.fps / trained_fps if trained_fps else 1.0
        if not 1 / SAME_RATE < ratio < SAME_RATE:
            found["warnings"].append(
                f"{path}: {info.fps:.4g} frames a second, but the model was trained at {trained_fps:.4g}, so a step "
                f"covers another time: train on features with a rate of their own (kinoscope extract --fps)."
            )
    return found


def _skeletons(model: VideoModel, found: dict[str, list[str]]) -> None:
    try:
        require_pose_joints(model.model)
    except KinoscopeError:
        found["errors"].append(
            f"The model was trained on {len(joints_of(model.model) or ())} joints that the poses of a video do not "
            "have: train it on a file that `kinoscope pose VIDEO... --output FILE.npz` makes, or give it skeleton "
            "files."
        )
    if not blazepose.installed():
        found["errors"].append(
            "mediapipe is not installed, which takes the poses: pip install --no-deps mediapipe==0.10.14"
        )


def _features(
    model: VideoModel, inputs: Sequence[str | Path], found: dict[str, list[str]]
) -> tuple[float, float | None]:
    """(frames of a step, rate of the training videos where the features have their videos' own)."""
    try:
        identity = encoder_of(model.model)
    except KinoscopeError as error:
        found["errors"].append(str(error))
        return 1.0, None
    sampling, name = identity["sampling"], str(identity["name"])
    rate = sampling.get("fps")
    words = ["kinoscope extract", "FOLDER_OF_THE_MODEL" if name.startswith(TRAINED) else name]
    words += [str(path) for path in inputs]
    words += [
        f"--window {sampling['window']} --stride {sampling['stride']}",
        f"--fps {rate:g}" if rate else "",
    ]
    if name not in ("lite0", POSE):
        words.append("--weights FILE")
    found["advice"].append(
        "Predict does this by itself; the same features once and for all: "
        + " ".join(word for word in words if word)
        + " --output STORE"
    )
    try:
        model.encoder()
    except KinoscopeError as error:
        found["errors"].append(str(error))
    trained = (model.model.about.get("axis") or {}).get("fps")
    return float(sampling["window"]), None if rate else trained


def command(
    model: str, inputs: Sequence[str], recipe: str | None, encoder_weights: Path | None
) -> dict[str, Any]:
    """The findings for what the command line names."""
    from kinoscope.media.video_files import is_video, named_videos
    from kinoscope.models import load

    files: list[str | Path] = []
    for given in inputs:
        files += list(named_videos([given]).values()) if Path(given).is_dir() or is_video(given) else [given]
    return check_videos(load(model, recipe, encoder_weights=encoder_weights), files)
