"""Runners of the actionformer cases, by operation."""

from golden.actionformer import data, inference, metrics, models, training, utilities
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {
    **models.RUNNERS,
    **training.RUNNERS,
    **data.RUNNERS,
    **inference.RUNNERS,
    **metrics.RUNNERS,
    **utilities.RUNNERS,
}
