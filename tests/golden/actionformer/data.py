"""Runners of data: none yet."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
