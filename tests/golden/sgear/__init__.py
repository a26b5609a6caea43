"""Runners of the sgear cases, by operation."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
