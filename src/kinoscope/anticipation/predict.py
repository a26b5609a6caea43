"""A trained anticipator: ranks the next action of new streams, evaluates itself, writes its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.anticipation.evaluate import softmax
from kinoscope.anticipation.judge import judge
from kinoscope.anticipation.models import Anticipator
from kinoscope.anticipation.official import load_exactly, read_state
from kinoscope.anticipation.orders import Orders
from kinoscope.anticipation.over_time import write_rankings
from kinoscope.anticipation.rankings import EVERY_S, SHOWN, Rankings, render, to_json
from kinoscope.anticipation.segment_predict import SegmentModel
from kinoscope.anticipation.segments import about_classes, read_classes
from kinoscope.anticipation.settings import AnticipationSettings, SegmentsData
from kinoscope.anticipation.stages import logits
from kinoscope.anticipation.streams import NOTHING, Sample, StreamSource, WindowReader
from kinoscope.engine.weights import Weights, save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml


class AnticipationModel:
    """`predict(input)` for one file, `evaluate(folder)` for the recipe's test streams."""

    anticipates = True  # answers are about moments: `predict(input, at=[...])`

    def __init__(self, settings: AnticipationSettings, about: dict[str, Any]) -> None:
        self.settings, self.about = settings, about
        self.label_names: tuple[str, ...] = tuple(about["label_names"])
        data = settings.data
        config = settings.model.config(len(self.label_names), data.num_frames, about["input_dim"])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Anticipator(config).to(self.device).eval()
        self.reader = WindowReader.from_about(settings.streams, about)
        self.orders = None if about.get("orders") is None else Orders.from_dict(about["orders"])

    def predict(
        self, path: str | Path, everything: bool = False, at: Sequence[float] | None = None
    ) -> Rankings:
        """The likeliest next actions in every stream of a file, every second or at the times `at` (seconds).

        everything: all classes, not only the first five. What comes after a moment does not change its answer.
        """
        streams = SkeletonFile.load(path)
        if streams.joint_names != tuple(self.about["joint_names"]):
            raise KinoscopeError(
                "these are other joints than the model was trained on",
                file=path,
                field="joint_names",
                value=list(streams.joint_names),
                remedy=f"expected {self.about['joint_names']}",
            )
        still = streams.without_motion()
        samples = []
        for motion in streams:
            if motion.name in still:
                continue
            times = np.arange(EVERY_S, motion.duration_s, EVERY_S) if at is None else np.asarray(at, float)
            inside = times[(times >= 0) & (times < motion.duration_s)]
            for t in inside.tolist():
                ahead = t + self.settings.data.tau_a
                samples.append(self.reader.at(motion, streams.up_axis, t, NOTHING, ahead, ahead))
        if not samples:
            why = next(iter(still.values()), None) or "no moment asked for lies inside a stream"
            raise KinoscopeError(why, file=path, value=None if at is None else list(at))
        p_nA = softmax(self._logits(samples))
        best = np.argsort(-p_nA, axis=1, kind="stable")[:, : None if everything else SHOWN]
        return Rankings(
            tuple(sample.video for sample in samples),
            np.array([sample.last_s for sample in samples]),
            np.array([sample.start_s for sample in samples]),
            best,
            np.take_along_axis(p_nA, best, axis=1),
            self.label_names,
        )

    def _logits(self, samples: Sequence[Sample]) -> np.ndarray:
        return logits(self.network, samples, self.device, self.settings, self.orders)

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """The recipe's protocol on its test streams; scores, predictions and metrics land in `folder`."""
        source = StreamSource(self.settings.streams, self.reader)
        samples = [source.test_sample(k) for k in range(len(source.test_rows))]
        if source.label_names != self.label_names:
            raise KinoscopeError(
                "the streams name other actions than the model knows",
                field="data.test",
                value=list(source.label_names),
                remedy=f"expected {list(self.label_names)}",
            )
        scores = self._logits(samples) if samples else np.empty((0, 0))
        write_rankings(folder, source, self._logits)
        return judge(scores, samples, source, folder, dict(source.skipped))

    def save(self, folder: Path) -> None:
        """The model as a weights folder."""
        save_weights(folder, self.network.state_dict(), to_yaml(self.settings), self.about)

    def render(self, parts: Sequence[Rankings], kind: str) -> str:
        return render(parts, kind, self.settings.data.tau_a)

    def to_json(self, parts: Sequence[Rankings]) -> dict[str, Any]:
        return to_json(parts, self.settings.data.tau_a)


def load(weights: Weights, settings: AnticipationSettings) -> AnticipationModel | SegmentModel:
    """The model of a weights folder."""
    model: AnticipationModel | SegmentModel
    if isinstance(settings.data, SegmentsData):
        model = SegmentModel(settings, weights.about)
    else:
        model = AnticipationModel(settings, weights.about)
    model.network.load_state_dict(weights.state)
    return model


def load_official(path: Path, settings: AnticipationSettings) -> SegmentModel:
    """An official checkpoint of a published recipe. Raises KinoscopeError for a recipe on streams."""
    if not isinstance(settings.data, SegmentsData):
        raise KinoscopeError("no official checkpoint is of this recipe", file=path, field="--recipe")
    state = read_state(path)
    actions, names = read_classes(settings.data)
    widths = [value.shape[1] for name, value in state.items() if name == "mapper_to_inter.weight"]
    about = {
        "label_names": list(names),
        "input_dim": widths[0] if widths else settings.model.intermediate_featdim,
        **about_classes(settings.data, actions),
    }
    model = SegmentModel(settings, about)
    load_exactly(model.network, state)
    return model
