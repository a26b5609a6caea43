from __future__ import annotations

import pytest
import torch

from kinoscope.localization import LossLogger, compute_iou_stats, compute_loss_breakdown


def test_averages_forget_what_left_the_window() -> None:
    log = LossLogger(window_size=3)
    for step in range(5):
        log.update({"final_loss": torch.tensor(float(step)), "dfl_loss": 1.0}, {"mean_iou": 0.25})
    assert log.step_count == 5
    assert log.get_averages() == {"final_loss": 3.0, "dfl_loss": 1.0, "mean_iou": 0.25}
    assert (
        log.log_summary(5, "train: ")
        == "train: Step 5: | final_loss=3.0000 | dfl_loss=1.0000 | mean_iou=0.250"
    )
    assert log.get_tensorboard_dict()["train/final_loss"] == 3.0
    log.reset()
    assert log.log_summary(6) == ""


def test_levels_are_counted_apart_and_padding_not_at_all() -> None:
    masks = [torch.tensor([[True, True, False, False]]), torch.tensor([[True, False]])]
    classes = torch.zeros(6, 2)
    classes[[0, 2, 4], 1] = 1
    counts = compute_loss_breakdown([], [], [classes], [], masks)
    assert counts == {"level_0_pos": 1, "level_0_total": 2, "level_1_pos": 1, "level_1_total": 1}


def test_overlap_of_offsets() -> None:
    stats = compute_iou_stats(torch.tensor([[2.0, 2.0], [1.0, 0.0]]), torch.tensor([[2.0, 2.0], [0.0, 1.0]]))
    assert stats == pytest.approx({"mean_iou": 0.5, "min_iou": 0.0, "max_iou": 1.0})
    assert compute_iou_stats(torch.zeros(0, 2), torch.zeros(0, 2))["max_iou"] == 0.0
