"""Runners of inference: none yet."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
