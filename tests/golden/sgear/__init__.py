"""Runners of the sgear cases, by operation."""

from golden.kit import Runner
from golden.sgear import models

RUNNERS: dict[str, Runner] = {**models.RUNNERS}
