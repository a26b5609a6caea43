"""EPIC-Kitchens actions from a verb model and a noun model (asked for by users; described, never released).

Both models see the same features and have the same pyramid. At every point the score of an action is the product of the
scores of its verb and its noun, and its segment the mean of the two models' segments; then decoding and suppression go
on as for one model whose classes are the pairs. At a point the TOP best verbs and nouns are paired.

The number of an action is verb * (number of nouns) + noun. Shape suffixes: T points of a level, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinoscope.engine.files import write_json
from kinoscope.errors import KinoscopeError
from kinoscope.localization.annotations import Annotations
from kinoscope.localization.decode import suppress, to_seconds
from kinoscope.localization.evaluate import evaluate_events
from kinoscope.localization.features import FeatureSource, file_items
from kinoscope.localization.inference import AFTERWARDS, DECODE, pad
from kinoscope.localization.items import Item
from kinoscope.localization.models import LocalizerOutput, padded_length
from kinoscope.localization.predict import LocalizationModel
from kinoscope.localization.settings import FeatureData
from kinoscope.timeline import Events

TOP = 10  # verbs and nouns that are paired at a point


class ActionModel:
    """A verb model and a noun model as one. Raises KinoscopeError where their inputs or pyramids differ."""

    def __init__(self, verb: LocalizationModel, noun: LocalizationModel, top: int = TOP) -> None:
        for name in ("strides", "input_dim", "max_seq_len"):
            mine, theirs = getattr(verb.config, name), getattr(noun.config, name)
            if mine != theirs:
                raise KinoscopeError(
                    "the two models do not share their points", field=name, value=f"{mine} and {theirs}"
                )
        for model in (verb, noun):
            if not isinstance(model.settings.data, FeatureData) or not model.network.reg_head:
                raise KinoscopeError("this is no model of segments on features", field="model.kind")
        self.verb, self.noun, self.top = verb, noun, top

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """`verb noun` of every pair."""
        return tuple(f"{v} {n}" for v in self.verb.label_names for n in self.noun.label_names)

    def predict(self, path: str | Path) -> Events:
        """Actions of a feature file, best first."""
        return self._events(file_items(Path(path), self._data, self.verb._fps()))

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """mAP of actions on the verb recipe's test videos; predictions and metrics land in `folder`."""
        source, skipped = FeatureSource(self._data, self.verb.settings.model), dict[str, str]()
        truth = self.truth(source.test_ids)
        found = self._events(source.test_items(range(len(source.test_ids)), skipped))
        result = evaluate_events(found, truth, self.verb.settings.protocol, drop_unknown=True)
        result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
        write_json(folder / "predictions.json", found.to_json())
        write_json(folder / "submission.json", self.submission(found))
        write_json(folder / "evaluation.json", result)
        return result

    def truth(self, videos: Iterable[str]) -> Events:
        """Ground truth of both annotation files, row by row. Raises KinoscopeError where their segments differ."""
        verbs, nouns = (
            Annotations.read(Path(model.settings.data.annotations))  # type: ignore[union-attr]
            for model in (self.verb, self.noun)
        )
        parts = [Events.empty(self.label_names)]
        for video in videos:
            mine, theirs = verbs.videos[video], nouns.videos.get(video)
            if theirs is None or not np.array_equal(mine.segments_s, theirs.segments_s):
                raise KinoscopeError(
                    "verbs and nouns annotate other segments", file=nouns.path, field="segment", value=video
                )
            label = mine.labels * len(self.noun.label_names) + theirs.labels
            parts.append(Events.of(video, mine.segments_s, label, None, self.label_names))
        return Events.concat(parts)

    def submission(self, found: Events) -> dict[str, Any]:
        """The form of the EPIC-Kitchens action detection challenge."""
        results: dict[str, list[dict[str, Any]]] = {}
        for video, mine in found.by_source():
            verb, noun = np.divmod(mine.label, len(self.noun.label_names))
            table = zip(verb.tolist(), noun.tolist(), mine.score.tolist(), strict=True)
            bounds = zip(mine.start_s.tolist(), mine.end_s.tolist(), strict=True)
            results[video] = [
                {"verb": v, "noun": n, "action": f"{v},{n}", "score": s, "segment": list(segment)}
                for (v, n, s), segment in zip(table, bounds, strict=True)
            ]
        return {
            "version": "0.2",
            "challenge": "action_detection",
            "sls_pt": 2,
            "sls_tl": 3,
            "sls_td": 3,
            "results": results,
        }

    @property
    def _data(self) -> FeatureData:
        data = self.verb.settings.data
        assert isinstance(data, FeatureData)
        return data

    @torch.no_grad()
    def _events(self, items: Iterable[Item]) -> Events:
        parts = [Events.empty(self.label_names)]
        for item in items:
            length = padded_length(item.feats.shape[1], self.verb.config, exact=False)
            inputs = pad([item.feats], length, self.verb.device)
            parts.append(self._answer(item, self.verb.network(*inputs), self.noun.network(*inputs)))
        return Events.concat(parts)

    def _answer(self, item: Item, verb: LocalizerOutput, noun: LocalizerOutput) -> Events:
        """Events of one video from the two outputs."""
        decode = self.verb.settings.decode
        levels = [
            self._level(level, stride, verb, noun) for level, stride in enumerate(self.verb.config.strides)
        ]
        segments, scores, labels = (torch.cat(column).cpu().numpy() for column in zip(*levels, strict=True))
        settings = decode.model_dump(exclude={*DECODE, *AFTERWARDS})
        segments, scores, labels = suppress(segments, scores, labels, **settings)
        order = np.argsort(-scores, kind="stable")
        seconds = to_seconds(
            segments[order].reshape(-1, 2),
            fps=item.fps,
            duration=item.duration,
            feat_stride=item.feat_stride,
            feat_num_frames=item.feat_num_frames,
        )
        seconds[:, 1] = np.maximum(seconds[:, 1], seconds[:, 0])
        return Events.of(item.video_id, seconds, labels[order], scores[order], self.label_names)

    def _level(
        self, level: int, stride: int, verb: LocalizerOutput, noun: LocalizerOutput
    ) -> tuple[Tensor, ...]:
        """Candidates of a level: segments [N, 2] in steps, scores, numbers of actions."""
        decode, nouns = self.verb.settings.decode, len(self.noun.label_names)
        mask_T1 = verb.masks[level][0].float().unsqueeze(-1)
        sides = []
        for output in (verb, noun):
            p_TK = (output.logits[level][0].float() / decode.score_temperature).sigmoid() * mask_T1
            sides.append(p_TK.topk(min(self.top, p_TK.shape[1]), dim=1))
        score_TVN = sides[0].values[:, :, None] * sides[1].values[:, None, :]
        label_TVN = sides[0].indices[:, :, None] * nouns + sides[1].indices[:, None, :]
        score, label = score_TVN.flatten(), label_TVN.flatten()
        index = torch.nonzero(score > decode.pre_nms_thresh)[:, 0]
        index = index[score[index].sort(descending=True, stable=True)[1][: decode.pre_nms_topk]]
        point = torch.div(index, score_TVN[0].numel(), rounding_mode="floor")
        offset_T2 = (verb.offsets[level][0] + noun.offsets[level][0]).float() / 2
        t, offset = point.float() * stride, offset_T2[point] * stride
        segment = torch.stack([t - offset[:, 0], t + offset[:, 1]], 1)
        keep = segment[:, 1] - segment[:, 0] > decode.duration_thresh
        return segment[keep], score[index][keep], label[index][keep]
