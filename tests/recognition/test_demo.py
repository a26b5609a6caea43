"""The demo end to end on a few scenes: every way of looking is measured and the page shows where the policy looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kinoscope.recognition.demo import covered, demo


def test_every_way_of_looking_is_measured_and_shown(tmp_path: Path) -> None:
    stages = ("prepare_global", "prepare_local", "stage1", "stage2", "stage3")
    quick = tuple(f"train.{stage}.epochs=1" for stage in stages)
    few = ("data.classes=[squat1Reps, kickLFront1Reps]", "data.copies=1", "model.num_segments=2")
    result = demo(tmp_path, (*quick, *few, "train.heads.epochs=3"))
    assert list(result["looking"]) == ["learned", "random", "centre", "whole frame", "v2"]
    for rule, row in result["looking"].items():
        assert 0 <= row["top1"] <= 100
        assert (row["covered"] is None) == (rule == "whole frame")
    assert "data:image/png;base64" in Path(result["report"]).read_text(encoding="utf-8")


def test_covered_is_the_share_of_the_box_inside_the_window() -> None:
    corners = np.array([[0, 0], [10, 10], [40, 40]])
    box = np.array([[0.0, 0.0, 20.0, 20.0]] * 3)
    assert covered(corners, box, 20).tolist() == pytest.approx([1, 0.25, 0])
