"""Runners of the carl cases, by operation."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
