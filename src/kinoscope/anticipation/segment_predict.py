"""A model trained on annotated segments: the likeliest next actions at moments of a video or of its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.anticipation.annotations import FIRST_FRAME_S
from kinoscope.anticipation.evaluate import marginalise, membership, softmax
from kinoscope.anticipation.inputs import FileInput, LmdbInput, VideoInput, WindowInput, stem
from kinoscope.anticipation.rankings import EVERY_S, SHOWN, Rankings, render, to_json
from kinoscope.anticipation.sampling import FrameSampling
from kinoscope.anticipation.segment_results import finish, scores_of
from kinoscope.anticipation.segment_stages import Loader, network
from kinoscope.anticipation.segments import SegmentSource, prototypes_of
from kinoscope.anticipation.settings import AnticipationSettings, FeatureFiles, Lmdb, Videos
from kinoscope.engine.weights import save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.features import store_at
from kinoscope.media.store import FeatureStore
from kinoscope.recipe import to_yaml

AT_ONCE = 32  # windows of features in one pass


class SegmentModel:
    """`predict(input)` for a video, a feature file, a store or LMDB; `evaluate(folder)` for the recipe's test."""

    anticipates = True  # answers are about moments: `predict(input, at=[...])`

    def __init__(self, settings: AnticipationSettings, about: dict[str, Any]) -> None:
        self.settings, self.about = settings, about
        self.label_names: tuple[str, ...] = tuple(about["label_names"])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network(settings, len(self.label_names), about["input_dim"]).to(self.device).eval()

    def predict(
        self, path: str | Path, everything: bool = False, at: Sequence[float] | None = None
    ) -> Rankings:
        """The likeliest actions tau_a after moments: every second, or the times `at` (seconds).

        What comes after a moment does not change its answer. A moment before the first frame is left out.
        """
        data = self.settings.segments
        sampling = FrameSampling(data.num_frames, data.frame_rate, data.sample_strategy)
        loader = Loader(data)
        told: list[tuple[str, float]] = []
        logits: list[np.ndarray] = []
        for video, seconds, source in self._videos(Path(path)):
            times = np.arange(EVERY_S, seconds, EVERY_S) if at is None else np.asarray(at, float)
            moments = [t for t in times.tolist() if FIRST_FRAME_S <= t <= seconds]
            # With the official numerics windows of one pass mix: each goes alone, so that no later one leaks in.
            step = 1 if loader.pixels or self.settings.model.reference_quirks else AT_ONCE
            for first in range(0, len(moments), step):
                some = moments[first : first + step]
                seen = [source.window(video, t - data.tau_o, t, sampling)[0] for t in some]
                logits.append(self._logits(torch.stack([loader.evaluation(x) for x in seen])))
                told += [(stem(video), t) for t in some]
        if not told:
            raise KinoscopeError(
                "no moment asked for lies inside the video", file=path, value=None if at is None else list(at)
            )
        scores = np.concatenate(logits)
        p_nA = softmax(scores)
        best = np.argsort(-p_nA, axis=1, kind="stable")[:, : None if everything else SHOWN]
        now = np.array([t for _, t in told])
        return Rankings(
            tuple(video for video, _ in told),
            now,
            now + data.tau_a,
            best,
            np.take_along_axis(p_nA, best, axis=1),
            self.label_names,
            self._parts(scores),
        )

    def _logits(self, video: torch.Tensor) -> np.ndarray:
        if video.shape[-1] != self.about["input_dim"] and video.ndim == 3:
            raise KinoscopeError(
                f"the model reads features of {self.about['input_dim']} channels",
                field="features",
                value=video.shape[-1],
                remedy="give the features that it was trained on",
            )
        with torch.inference_mode():
            out = self.network(video.to(self.device), with_past=False)
        return np.asarray(out["logits/action"].float().cpu().numpy())

    def _parts(self, logits: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Verbs and nouns with their probabilities, where actions consist of them."""
        sizes, pairs = self.about["sizes"], self.about["pairs"]
        if sizes == [1, 1]:
            return {}
        verb, noun = (membership([pair[k] for pair in pairs], sizes[k]) for k in (0, 1))
        table = marginalise(logits, verb, noun)
        names = [
            self.about.get(f"{space}_names") or [str(k) for k in range(n)]
            for space, n in zip(("verb", "noun"), sizes, strict=True)
        ]
        return {"verb": (tuple(names[0]), table.verb), "noun": (tuple(names[1]), table.noun)}

    def _videos(self, path: Path) -> Iterator[tuple[str, float, WindowInput]]:
        """(video, its seconds, a reader) of an input."""
        kind = self.settings.segments.input
        if isinstance(kind, Videos):
            from kinoscope.media.video import probe

            info = probe(path)
            if info.duration_s is None:
                raise KinoscopeError("this file does not tell how long it is", file=path)
            yield (
                path.name,
                info.duration_s,
                VideoInput(kind.model_copy(update={"roots": (str(path.parent),)})),
            )
        elif isinstance(kind, Lmdb):
            if not path.is_dir():
                raise KinoscopeError(
                    "this model reads LMDB folders", file=path, remedy="give the folder of data.mdb"
                )
            lmdb = LmdbInput(kind.model_copy(update={"folders": (str(path),)}))
            for video, seconds in lmdb.store.videos():
                yield video, seconds, lmdb
        elif store_at(path) is not None:
            made = self.about.get("encoders")
            for video in FeatureStore(path).videos:
                reader = FileInput(FeatureFiles(folders=(str(path),)))
                if made:
                    store = FeatureStore(path)
                    store.require(made[0], video, store.axis(video))
                rate, first = reader.rate(video)
                yield video, first + (len(reader.rows(video)) - 1) / rate, reader
        else:
            ext = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
            fps = kind.fps
            reader = FileInput(FeatureFiles(folders=(str(path.parent),), ext=ext, fps=fps))
            name = path.name.removesuffix(ext)
            if not path.is_file():
                raise KinoscopeError("there is no such feature file", file=path)
            rate, first = reader.rate(name)
            yield name, first + (len(reader.rows(name)) - 1) / rate, reader

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """The recipe's protocol on its test segments; scores, figures and submission land in `folder`."""
        data = self.settings.segments
        source = SegmentSource(data)
        if source.label_names != self.label_names:
            raise KinoscopeError(
                f"the model knows {len(self.label_names)} classes, the action list has others",
                field="data.actions",
                value=len(source.label_names),
                remedy="give the list that the model was trained with",
            )
        skipped = dict(source.skipped)
        if source.test is None:
            raise KinoscopeError("there are no test segments", field="data.test")
        _, visual, _ = prototypes_of(data, source.label_names)
        scores, embeddings = scores_of(self.network, source, Loader(data), self.device, skipped)
        return finish(scores, embeddings, source, visual, self.settings, folder, skipped)

    def save(self, folder: Path) -> None:
        """The model as a weights folder."""
        save_weights(folder, self.network.state_dict(), to_yaml(self.settings), self.about)

    def render(self, parts: Sequence[Rankings], kind: str) -> str:
        return render(parts, kind, self.settings.data.tau_a)

    def to_json(self, parts: Sequence[Rankings]) -> dict[str, Any]:
        return to_json(parts, self.settings.data.tau_a)
