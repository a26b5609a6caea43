"""Runners of the aimclr cases, by operation."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
