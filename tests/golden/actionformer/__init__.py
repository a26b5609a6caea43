"""Runners of the actionformer cases, by operation."""

from golden.kit import Runner

RUNNERS: dict[str, Runner] = {}
