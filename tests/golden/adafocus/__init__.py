"""Runners of the adafocus cases, by operation."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
