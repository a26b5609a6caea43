"""Runners of metrics: none yet."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
