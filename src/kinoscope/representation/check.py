"""`kinoscope check` for this task: what is wrong, unlikely or worth knowing before training, in sentences."""

from __future__ import annotations

import statistics

from kinoscope.errors import KinoscopeError
from kinoscope.representation.pretrained import load_trunk
from kinoscope.representation.published import PublishedSource
from kinoscope.representation.published_stage import image_encoder
from kinoscope.representation.settings import PublishedData, RepresentationSettings
from kinoscope.representation.stages import source_of


def check(settings: RepresentationSettings) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}: sentences about the data and how the settings fit it."""
    told: dict[str, list[str]] = {"errors": [], "warnings": [], "advice": []}
    if isinstance(settings.data, PublishedData):
        _check_published(settings, settings.data, told)
        return told
    try:
        source = source_of(settings.data)
    except KinoscopeError as error:
        told["errors"].append(str(error))
        return told
    lengths = [len(clip.features) for clip in source.train]
    for name, why in source.skipped.items():
        told["warnings"].append(f"Clip {name} is left out: {why}.")
    if len(lengths) == 1:
        told["warnings"].append("There is one training clip: embeddings will tell its frames apart, no more.")
    if not source.test:
        told["warnings"].append("There are no test clips: the run ends without metrics. Set data.test=...")
    elif len(source.test) == 1:
        told["warnings"].append("There is one test clip: nearest neighbours need two.")
    frames, middle = settings.sampling.num_frames, statistics.median(lengths)
    if frames is not None and not frames / 2 <= middle <= 4 * frames:
        told["advice"].append(
            f"Views of {frames} frames do not suit clips of {middle:.0f}: sampling.num_frames=null fits them."
        )
    return told


def _check_published(
    settings: RepresentationSettings, data: PublishedData, told: dict[str, list[str]]
) -> None:
    """The files of the data set, the starting weights, and videos that are missing or too short."""
    try:
        source = PublishedSource(data)
        sets = source.evaluation_sets()
        trunk = settings.model.trunk
        if trunk is not None and settings.init_from is None:
            load_trunk(image_encoder(settings), trunk, source.root)
    except KinoscopeError as error:
        told["errors"].append(str(error))
        return
    missing = [video.name for video in source.train if not video.path.is_file()]
    if missing:
        told["warnings"].append(f"{len(missing)} training videos are missing, {missing[0]} first.")
    if len(source.train) - len(missing) < settings.train.batch_size:
        told["errors"].append("There are fewer training videos than a batch holds: lower train.batch_size.")
    frames = settings.sampling.num_frames or 0
    short = [video for video in source.train if video.length is not None and video.length < frames]
    if 2 * len(short) > len(source.train):
        told["advice"].append(
            f"{len(short)} of {len(source.train)} training videos have fewer than {frames} frames: the rest of their "
            "views is padding. A smaller sampling.num_frames suits them."
        )
    if not sets:
        told["warnings"].append("There is nothing to judge the run by: no Penn Action beside Kinetics-400.")
    if not any(v.frame_label is not None and (v.frame_label >= 0).any() for s in sets for v in s.val):
        told["warnings"].append("No validation frame has a label: Kendall's tau alone will be told.")
