"""Runners of the carl cases, by operation."""

from golden.carl import losses, models
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {**models.RUNNERS, **losses.RUNNERS}
