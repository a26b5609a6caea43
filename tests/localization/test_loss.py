"""Losses and label assignment: the specification's worked example, and laws that hold."""

from __future__ import annotations

import pytest
import torch

from kinoscope.localization import losses
from kinoscope.localization.models import LocalizerOutput, PointGenerator


def test_worked_example_of_the_assignment():
    ranges = ((0, 4), (4, 8), (8, 10000))
    points = torch.cat(PointGenerator((1, 2, 4), ranges, 32)((32, 16, 8)))
    classes, offsets = losses.assign_points(points, torch.tensor([[10.0, 22.0]]), torch.tensor([1]), 3)
    positive = classes.sum(-1) > 0
    assert points[positive][:, 0].tolist() == [14, 16, 18, 12, 20]
    assert offsets[positive].tolist() == [[2, 4], [3, 3], [4, 2], [0.5, 2.5], [2.5, 0.5]]
    assert (classes[positive] == torch.tensor([0, 1, 0])).all()


def output_of(rows):
    torch.manual_seed(0)
    logits, offsets = torch.randn(2, 20, 3), torch.rand(2, 20, 2) * 5
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1, 12:] = False
    dist = torch.randn(2, 20, 2, 9)
    return LocalizerOutput([logits[rows]], [offsets[rows]], [mask[rows]], [dist[rows]])


def targets():
    generator = torch.Generator().manual_seed(1)
    classes = (torch.rand(2, 20, 3, generator=generator) > 0.8).float()
    return classes, torch.rand(2, 20, 2, generator=generator) * 5


@pytest.mark.parametrize("kind", ["focal", "quality_focal"])
@pytest.mark.parametrize("offset_loss", sorted(losses.OFFSET_LOSSES))
def test_processes_add_up_to_one(kind, offset_loss):
    classes, offsets = targets()
    settings = losses.LossSettings(cls_loss_type=kind, reg_loss_type=offset_loss)

    def loss(rows, total=None):
        share = None if total is None else lambda _: total
        normaliser = losses.LossNormaliser(10.0)
        return losses.localization_loss(
            output_of(rows), classes[rows], offsets[rows], normaliser, settings, share
        )

    whole = loss(slice(None))
    parts = [loss(slice(i, i + 1), whole["num_pos"]) for i in range(2)]
    assert torch.isclose(parts[0]["final_loss"] + parts[1]["final_loss"], whole["final_loss"])


def test_masked_points_do_not_count():
    classes, offsets = targets()
    changed = classes.clone()
    changed[1, 12:] = 1 - changed[1, 12:]
    results = [
        losses.boundary_loss(output_of(slice(None)), given, offsets, losses.LossSettings())["final_loss"]
        for given in (classes, changed)
    ]
    assert torch.equal(*results)


def test_heatmap_of_a_class_peaks_at_its_centre():
    segments, labels = torch.tensor([[4.0, 8.0], [20.0, 40.0]]), torch.tensor([0, 2])
    target = losses.heatmap(64, 2, segments, labels, 3)
    assert target.argmax(0).tolist() == [3, 0, 15]
    assert target[:, 1].sum() == 0


def test_normaliser_resumes():
    one, other = losses.LossNormaliser(100.0), losses.LossNormaliser(1.0)
    one.update(10)
    other.load_state_dict(one.state_dict())
    assert one.update(0) == other.update(0) == pytest.approx(0.9 * 91 + 0.1)
