"""Runners of the carl cases, by operation."""

from golden.carl import augmentation, evaluation, files, losses, models
from golden.kit import Runner

RUNNERS: dict[str, Runner] = {
    operation: run
    for part in (models, losses, evaluation, files, augmentation)
    for operation, run in part.RUNNERS.items()
}
