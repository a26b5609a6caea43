"""`kinoscope check` for localization: settings and data looked over before training, in plain sentences.

Errors must be mended; warnings cost quality or single videos; advice holds what the annotations suggest: sequence
length, levels and regression ranges (specification 11.6 and 15), as overrides to paste.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.localization.build import model_config
from kinoscope.localization.check_features import Findings, Measures, look_over, share_of, some
from kinoscope.localization.fusion import read_scores
from kinoscope.localization.models.points import max_div_factor
from kinoscope.localization.ranges import OPEN_END, compute_adaptive_ranges
from kinoscope.localization.settings import FeatureData, LocalizationSettings
from kinoscope.localization.streams import StreamSource

LONGEST = 2304  # steps of the longest published training sequence; longer videos are cut to windows
LEVELS = (2, 8)  # fewest and most levels that are suggested
FINEST = 8  # steps that the first level should see, as published: (0, 4) from middle to bound


def check(settings: LocalizationSettings) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}, each a list of sentences."""
    found = Findings()
    if isinstance(settings.data, FeatureData):
        measures = look_over(settings.data, found)
        _network(settings, settings.data, found)
        _scores(settings, settings.data, found)
    else:
        measures = _streams(settings, found)
    if measures is not None and not measures.empty:
        _amount(settings, measures, found)
        _fit(settings, measures, found)
    return {"errors": found.errors, "warnings": found.warnings, "advice": found.advice}


def _network(settings: LocalizationSettings, shape: FeatureData | StreamSource, found: Findings) -> None:
    try:
        config = model_config(settings.model, shape)  # type: ignore[arg-type]
        max_div_factor(config)
    except KinoscopeError as error:
        found.error(str(error))


def _scores(settings: LocalizationSettings, data: FeatureData, found: Findings) -> None:
    file = settings.decode.ext_score_file
    if file is None:
        if data.num_classes == 1:
            found.warn(
                "The model tells actions from background only (data.num_classes=1), and no video classifier names "
                "the classes: set decode.ext_score_file, or data.num_classes to the number of classes."
            )
        return
    if data.num_classes > 1:
        found.warn(
            f"decode.ext_score_file={file} replaces the classes that the model predicts by those of a video "
            "classifier: set it to null to keep the model's."
        )
    try:
        scores = read_scores(file)
    except KinoscopeError as error:
        found.error(str(error))
        return
    absent = [video for video in found.test_videos if video not in scores]
    if absent:
        found.warn(f"Test videos without scores in {Path(file).name} ({len(absent)}): {some(absent)}.")


def _streams(settings: LocalizationSettings, found: Findings) -> Measures | None:
    try:
        source = StreamSource(settings.data, settings.model)  # type: ignore[arg-type]
    except KinoscopeError as error:
        found.error(str(error))
        return None
    for name, why in source.skipped.items():
        found.warn(f"Stream {name} is left out: {why}.")
    if not source.test_ids:
        found.warn("There are no test streams, so the run ends without metrics: set data.test=FILE.")
    beyond, lengths, spans, seen = [], [], [], set()
    for name, motion in {**source.train, **source.test}.items():
        table = np.asarray(motion.segments).reshape(-1, 3)
        if len(table) and (table[:, 1].max() > len(motion.joints) or table[:, 0].min() < 0):
            beyond.append(name)
        if name in source.train:
            lengths.append(len(motion.joints))
            spans += (table[:, 1] - table[:, 0]).tolist()
            seen |= set(table[:, 2].tolist())
    if beyond:
        found.error(f"Streams with segments beyond their end ({len(beyond)}): {some(beyond)}.")
    truth = source.test_truth()
    strange = [source.label_names[k] for k in sorted(set(truth.label.tolist()) - seen)]
    if strange:
        found.warn(f"The test streams hold labels that no training stream has: {some(strange)}.")
    _network(settings, source, found)
    return Measures(lengths, spans, len(source.train_ids), source.max_seq_len)


def _amount(settings: LocalizationSettings, measures: Measures, found: Findings) -> None:
    batch = settings.train.batch_size
    if measures.videos < batch and settings.train.drop_last:
        found.error(
            f"There are {measures.videos} training videos for a batch of {batch}: set "
            f"train.batch_size={max(measures.videos, 1)}, or train.drop_last=false."
        )


def _fit(settings: LocalizationSettings, measures: Measures, found: Findings) -> None:
    """What sequence length, levels and ranges the actions ask for, and where the recipe's do not hold them."""
    spans, lengths = np.asarray(measures.spans, float), np.asarray(measures.lengths, float)
    limit = measures.max_seq_len
    if len(spans) and (cut := float((spans > limit).mean())) > 0:
        found.warn(
            f"{share_of(cut)} of the actions are longer than the {limit:.0f} steps of a training sequence: "
            "raise data.max_seq_len."
        )
    if not len(spans):
        return
    ranges = settings.model.regression_range
    reach = ranges[-1][1]
    if (outside := float((spans / 2 > reach).mean())) > 0:
        found.warn(
            f"No level answers for {share_of(outside)} of the actions, whose half is longer than {reach:.0f} steps: "
            f"let the last of model.regression_range end at {OPEN_END}."
        )
    found.advise(suggestion(settings, lengths, spans))


def suggestion(settings: LocalizationSettings, lengths: np.ndarray, spans: np.ndarray) -> str:
    """Sequence length, levels and ranges for videos of `lengths` and actions of `spans` steps, as overrides."""
    backbone = settings.model.backbone
    long = max(float(np.percentile(spans, 99)), 1.0)
    levels = min(max(math.ceil(math.log2(max(long / FINEST, 1))) + 1, LEVELS[0]), LEVELS[1])
    window = backbone.n_mha_win_size
    window = window if isinstance(window, int) else window[0]
    coarsest = backbone.scale_factor ** (levels - 1)
    unit = coarsest * (window // 2) * 2 if window > 1 else coarsest
    longest = float(lengths.max()) if len(lengths) else long
    length = math.ceil(min(longest, LONGEST) / unit) * unit
    # what a range bounds is the distance from a point to the farther end: from half of an action to all of it
    distances = np.concatenate([0.5 * spans, 0.75 * spans, spans])
    ranges = compute_adaptive_ranges(durations=distances, num_levels=levels, open_end=True)
    parts = [
        f"data.max_seq_len={length}",
        f'"model.backbone.arch={[*backbone.arch[:2], levels - 1]}"',
        f'"model.regression_range={[list(pair) for pair in ranges]}"',
    ]
    if not isinstance(backbone.n_mha_win_size, int):
        parts.append(f"model.backbone.n_mha_win_size={window}")
    middle = np.median(spans)
    return (
        f"Actions last {spans.min():.0f} to {spans.max():.0f} steps (half of them under {middle:.0f}), training "
        f"videos up to {longest:.0f}; settings that follow from this: {' '.join(parts)}"
    )
