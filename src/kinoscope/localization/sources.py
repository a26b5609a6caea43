"""Where samples come from: one small protocol over feature data sets and skeleton streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from kinoscope.localization.items import Item
from kinoscope.localization.settings import FeatureData, Model, StreamsData
from kinoscope.timeline import Events


class Source(Protocol):
    """Training and test videos of a recipe, with what a network must know of them."""

    train_ids: list[str]
    test_ids: list[str]
    label_names: tuple[str, ...]
    input_dim: int | tuple[int, ...]
    num_classes: int
    max_seq_len: int
    empty_label_ids: tuple[int, ...]  # classes without any annotation
    skipped: dict[str, str]  # video -> why it is left out

    def training_item(self, index: int, generator: np.random.Generator) -> Item:
        """Training video `index`, cropped and changed at random."""

    def test_items(self, indices: Sequence[int], skipped: dict[str, str]) -> Iterator[Item]:
        """Test videos, one by one; one that cannot be read is noted in `skipped`."""

    def test_truth(self) -> Events:
        """Ground truth of the test videos, those without features included."""

    def test_durations(self) -> dict[str, float]:
        """Length in seconds of every test video."""

    def about(self) -> dict[str, Any]:
        """What a model must carry along to read other inputs of this kind: plain JSON values."""


def open_source(data: FeatureData | StreamsData, model: Model) -> Source:
    """The source that a recipe's `data` names."""
    if isinstance(data, StreamsData):
        from kinoscope.localization.streams import StreamSource

        return StreamSource(data, model)
    from kinoscope.localization.features import FeatureSource

    return FeatureSource(data, model)


def ground_truth(source: Source) -> dict[str, Any]:
    """The ground truth of the test videos as the report reads it."""
    table: dict[str, Any] = {
        video: {"duration_s": duration, "events": []} for video, duration in source.test_durations().items()
    }
    for video, events in source.test_truth().by_source():
        rows = zip(events.start_s.tolist(), events.end_s.tolist(), events.label.tolist(), strict=True)
        table.setdefault(video, {"duration_s": float(events.end_s.max()), "events": []})["events"] = [
            list(r) for r in rows
        ]
    return {"label_names": list(source.label_names), "videos": table}
