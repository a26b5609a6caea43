"""Any trained model, asked about a video: what the model reads is made from the video first.

| the model reads | so the video goes through |
|---|---|
| features | the encoder that made its training features, at the same window, stride and rate (both are in the model) |
| skeletons | `kinoscope pose`, where its joints are those that the pose has |
| video | nothing |
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.video_files import is_video


class VideoModel:
    """A model of any task that takes videos beside its own kind of file; everything else is the model's.

    encoder_weights: the file of the encoder's weights, where the encoder was not one that a package brings.
    """

    def __init__(self, model: Any, encoder_weights: str | Path | None = None) -> None:
        self.model, self._encoder_weights = model, encoder_weights
        self._encoder: Any = None
        self.overlay: dict[str, Any] = {}  # of the last video: what `report.overlays` draws on it

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)

    def predict(
        self, path: str | Path, everything: bool = False, name: str | None = None, **more: Any
    ) -> Any:
        """What the model says about one file; `name` is what a video is called in the answer (default: its stem).

        Raises KinoscopeError where the video cannot be read, or the model cannot be asked about videos.
        """
        self.overlay = {}
        if not is_video(path):
            return self.model.predict(path, everything, **more)
        if reads(self.model) == "video":
            answer = self.model.predict(path, everything, **more)
            self._show_windows(answer, Path(path))
            return answer
        with tempfile.TemporaryDirectory(prefix="kinoscope-predict-") as folder:
            make = self._skeletons if reads(self.model) == "skeletons" else self._features
            return self.model.predict(
                make(Path(path), name or Path(path).stem, Path(folder)), everything, **more
            )

    def _show_windows(self, answer: Any, path: Path) -> None:
        """Where a model of windows looked."""
        if not isinstance(answer, dict) or not answer.get("windows"):
            return
        from kinoscope.media.video import probe
        from kinoscope.report.overlays import windows

        self.overlay = windows(answer["windows"], answer["frames"], probe(path))

    def to_json(self, parts: Sequence[Any]) -> dict[str, Any]:
        """The answers as plain values; a model that answers with plain values needs no method of its own for that."""
        own = getattr(self.model, "to_json", None)
        answer: dict[str, Any] = own(parts) if own is not None else {"predictions": list(parts)}
        return answer

    def render(self, parts: Sequence[Any], kind: str) -> str:
        """The answers as text. Raises KinoscopeError for a format that this model's answers do not have."""
        own = getattr(self.model, "render", None)
        if own is not None:
            text: str = own(parts, kind)
            return text
        if kind == "json":
            return json.dumps(self.to_json(parts)) + "\n"
        if kind != "csv":
            raise KinoscopeError("classes are written as csv or json", field="--format", value=kind)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("input", "rank", "label", "score"))
        for part in parts:
            for rank, row in enumerate(part["classes"], 1):
                writer.writerow((part["input"], rank, row["label"], f"{row['score']:.4f}"))
        return out.getvalue()

    def _features(self, path: Path, name: str, folder: Path) -> Path:
        from kinoscope.encoders.folder import extract_all

        encoder, sampling = self.encoder()
        summary = extract_all(encoder, sampling, {name: path}, folder / "features")
        for why in summary.failed.values():
            raise KinoscopeError(why)
        return folder / "features"

    def encoder(self) -> tuple[Any, Any]:
        """(encoder, sampling) that made the features which the model was trained on. Raises KinoscopeError."""
        from kinoscope.extractor import of_identity

        if self._encoder is None:
            self._encoder = of_identity(encoder_of(self.model), self._encoder_weights)
        return self._encoder

    def _skeletons(self, path: Path, name: str, folder: Path) -> Path:
        from kinoscope.media.blazepose import PARENTS
        from kinoscope.media.pose import Poses, as_file, in_own_process
        from kinoscope.media.video import probe
        from kinoscope.report.overlays import skeleton

        require_pose_joints(self.model)
        poses = in_own_process(path)
        if not isinstance(poses, Poses):
            raise poses
        if not poses.found:
            raise KinoscopeError("nobody is found in this video", file=path)
        self.overlay = skeleton(poses.pixels, PARENTS, poses.fps, probe(path))
        skeletons = as_file({name: poses})
        return unlabelled(skeletons).save(folder / "skeletons.npz")


def reads(model: Any) -> str:
    """What a model takes: "skeletons", "features" or "video"."""
    if joints_of(model) is not None:
        return "skeletons"
    about = getattr(model, "about", None) or {}
    return "features" if "encoders" in about or about.get("input") == "features" else "video"


def joints_of(model: Any) -> list[str] | None:
    """Names of the joints that a model was trained on; None where it reads no skeletons."""
    about = getattr(model, "about", None) or {}
    layout = getattr(model, "layout", None)
    names = about.get("joint_names") or (list(layout.joints) if layout is not None else None)
    return None if names is None else [str(name) for name in names]


def encoder_of(model: Any) -> dict[str, Any]:
    """The identity of the encoder behind a model of features. Raises KinoscopeError where it is not known."""
    made = (getattr(model, "about", None) or {}).get("encoders") or []
    if len(made) == 1 and "sampling" in made[0]:
        return dict(made[0])
    raise KinoscopeError(
        "this model was trained on features that do not tell which encoder made them"
        if not made
        else f"this model was trained on the features of {len(made)} encoders together",
        field="encoders",
        value=[one.get("name") for one in made],
        remedy="train it on a store that `kinoscope extract` made, or give it feature files instead of videos",
    )


def require_pose_joints(model: Any) -> None:
    """Raises KinoscopeError where the joints of a model are others than `kinoscope pose` gives."""
    from kinoscope.media.blazepose import JOINTS

    if joints_of(model) != list(JOINTS):
        raise KinoscopeError(
            "this model was trained on other joints than the poses of a video have",
            field="joint_names",
            value=joints_of(model),
            remedy="train it on skeletons that `kinoscope pose` made, or give it a skeleton file",
        )


def unlabelled(skeletons: Any) -> Any:
    """The file as sequences of an unknown class: models that classify ask for the form, not for the class."""
    from dataclasses import replace

    return replace(skeletons, label=np.zeros(len(skeletons), np.int64), label_names=("unknown",))
