"""Runners of the adafocus cases, by operation."""

from golden.adafocus import data, networks, policies, successors, systems, training, tsm
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {
    **networks.RUNNERS,
    **policies.RUNNERS,
    **systems.RUNNERS,
    **training.RUNNERS,
    **data.RUNNERS,
    **tsm.RUNNERS,
    **successors.RUNNERS,
}
