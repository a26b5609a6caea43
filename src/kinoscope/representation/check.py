"""`kinoscope check` for this task: what is wrong, unlikely or worth knowing before training, in sentences."""

from __future__ import annotations

import statistics

from kinoscope.errors import KinoscopeError
from kinoscope.representation.settings import RepresentationSettings
from kinoscope.representation.stages import source_of


def check(settings: RepresentationSettings) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}: sentences about the data and how the settings fit it."""
    told: dict[str, list[str]] = {"errors": [], "warnings": [], "advice": []}
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
