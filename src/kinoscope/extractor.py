"""Every encoder that `kinoscope extract` knows: those of `kinoscope.encoders`, poses, and models trained here.

A model trained here gives its embeddings: one a frame where it is a model of frames or of motion (CARL), one a window
of frames where it is a model of clips of a skeleton (AimCLR). Its identity is the digest of its weights.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope import encoders
from kinoscope.encoders import Encoder, Sampling
from kinoscope.encoders.pose_features import NAME as POSE
from kinoscope.encoders.pose_features import PoseEncoder
from kinoscope.encoders.sampling import slide
from kinoscope.encoders.weights import FROM_FILE
from kinoscope.encoders.whole import Rows, WholeVideoEncoder
from kinoscope.errors import KinoscopeError
from kinoscope.from_video import joints_of, require_pose_joints, unlabelled
from kinoscope.media.pose import Poses, as_file, in_own_process
from kinoscope.media.video import Picture
from kinoscope.media.video_writer import write_mp4

TRAINED = "trained/"  # begins the name of an encoder that was trained here; its task follows


def open_encoder(
    name: str, weights: str | Path | None = None, *, window: int = 16, device: str = "cpu"
) -> Encoder | WholeVideoEncoder:
    """The encoder of a name, or of a run or weights folder. Raises KinoscopeError."""
    if name == POSE:
        return PoseEncoder()
    if Path(name).is_dir():
        return TrainedEncoder(Path(name))
    return encoders.create(name, weights, window=window, device=device)


def takes_clips(name: str) -> bool:
    """Whether the encoder sees several frames at once."""
    return name != POSE and not Path(name).is_dir() and encoders.takes_clips(name)


def of_identity(
    identity: dict[str, Any], weights: str | Path | None = None, *, device: str = "cpu"
) -> tuple[Encoder | WholeVideoEncoder, Sampling]:
    """The encoder and the sampling that made features, from what a store or a model says of them.

    weights: the file of its weights, or the folder of the model that was trained here. Raises KinoscopeError.
    """
    name = str(identity["name"])
    if name != POSE and not name.startswith(TRAINED):
        return encoders.from_identity(identity, weights, device=device)
    if name == POSE:
        encoder: WholeVideoEncoder = PoseEncoder()
    elif weights is None:
        raise KinoscopeError(
            f"the features are those of a model of {name.removeprefix(TRAINED)} that was trained here",
            field="encoder",
            value=identity["weights"],
            remedy="name its folder with --encoder-weights FOLDER",
        )
    else:
        encoder = TrainedEncoder(Path(weights))
    wanted = {key: value for key, value in identity.items() if key != "sampling"}
    if encoder.identity != wanted:
        raise KinoscopeError(f"the features are of {wanted}", field="encoder", value=encoder.identity)
    return encoder, Sampling.model_validate(identity["sampling"])


class TrainedEncoder:
    """A model of a run or weights folder as an encoder. Raises KinoscopeError where it cannot be one."""

    def __init__(self, folder: Path) -> None:
        from kinoscope.engine.weights import find_weights
        from kinoscope.models import load

        file = find_weights(folder) / "model.safetensors"
        self._digest = FROM_FILE + hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        self.model = load(folder)
        self.name = f"{TRAINED}{self.model.settings.task}"
        self._native = joints_of(self.model.model) is None
        if not self._native:
            require_pose_joints(self.model.model)
        elif not hasattr(self.model.model, "features"):
            raise KinoscopeError("this model gives no features of videos", file=folder, value=self.name)
        self.channels = self._try()

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "weights": self._digest}

    def of_video(self, path: Path, sampling: Sampling) -> Rows:
        """The embeddings of one video."""
        if self._native:
            values, axis = self.model.features(path)
            return Rows(values, axis, round(axis.covered_s(len(values)) * axis.fps))
        poses = in_own_process(path, sampling.fps)
        if not isinstance(poses, Poses):
            raise poses
        if not poses.found:
            raise KinoscopeError("nobody is found in this video", file=path)
        return self._of_poses(poses, sampling, path)

    def _try(self) -> int:
        """The number of channels, from a moment of noise."""
        random = np.random.default_rng(0)
        if not self._native:
            joints = np.cumsum(random.normal(size=(64, 33, 3)).astype(np.float32), axis=0) * 0.01
            noise = Poses(30.0, joints, np.ones((64, 33), np.float32), joints[..., :2])
            return self._of_poses(noise, Sampling(window=64, stride=64), "noise").values.shape[1]
        with tempfile.TemporaryDirectory(prefix="kinoscope-extract-") as folder:
            images = (random.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(40))
            pictures = (Picture(k / 20, k / 20, image, False) for k, image in enumerate(images))
            return int(self.model.features(write_mp4(pictures, 20, Path(folder) / "noise.mp4"))[0].shape[1])

    def _of_poses(self, poses: Poses, sampling: Sampling, path: str | Path) -> Rows:
        frames = len(poses.joints)
        a_frame = hasattr(self.model.model, "features")  # embeddings of frames, not of clips
        rows = (
            [list(range(frames))] if a_frame else list(slide(range(frames), sampling.window, sampling.stride))
        )
        parts = {
            f"{k:06d}": Poses(poses.fps, poses.joints[at], poses.confidence[at], poses.pixels[at])
            for k, at in enumerate(rows)
        }
        with tempfile.TemporaryDirectory(prefix="kinoscope-extract-") as folder:
            file = unlabelled(as_file(parts)).save(Path(folder) / "poses.npz")
            answer = self.model.predict(file)
        if isinstance(answer, list):
            if len(answer) != len(rows):
                raise KinoscopeError("nobody moves in this video", file=path)
            values = answer[0].values
            return Rows(values, Sampling().axis(poses.fps), frames, poses.problem)
        found = dict(zip(answer.names, answer.embeddings, strict=True))
        if not found:
            raise KinoscopeError("nobody moves in this video", file=path)
        still = np.zeros_like(next(iter(found.values())))  # windows without motion say nothing
        values = np.stack([found.get(name, still) for name in parts])
        return Rows(values, sampling.axis(poses.fps), frames, poses.problem)
