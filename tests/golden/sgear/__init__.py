"""Runners of the sgear cases, by operation."""

from golden.kit import Runner
from golden.sgear import data, models, training

RUNNERS: dict[str, Runner] = {**models.RUNNERS, **data.RUNNERS, **training.RUNNERS}
