"""Runners of the aimclr cases, by operation."""

from golden.aimclr import data, models, training
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {**data.RUNNERS, **models.RUNNERS, **training.RUNNERS}
