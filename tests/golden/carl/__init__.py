"""Runners of the carl cases, by operation."""

from golden.carl import evaluation, files, losses, models
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {**models.RUNNERS, **losses.RUNNERS, **evaluation.RUNNERS, **files.RUNNERS}
