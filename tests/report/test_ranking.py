"""The ranking of next actions as a picture and a table."""

from __future__ import annotations

import json
from pathlib import Path

from kinoscope.report import ranking, write

STREAM = {
    "video": "one & two",
    "duration_s": 4.0,
    "times": [1.0, 2.0, 3.0],
    "probability": [[0.9, 0.1], [0.4, 0.6], [0.0, 1.0]],
    "truth": [[1.5, 2.0, 0], [3.0, 3.5, 1]],
    "pose_times": [0.0, 1.0],
    "poses": [[[0.0, 1.0], [0.0, 0.0]], [[0.5, 1.0], [0.0, 0.0]]],
}
RANKINGS = {"label_names": ["a", "b"], "tau_a_s": 0.5, "links": [[0, 1]], "streams": [STREAM]}


def test_every_likely_moment_is_a_shade_and_every_truth_a_frame() -> None:
    drawn = ranking.over_time(RANKINGS)
    assert drawn.count('class="bar"') == 5  # probability 0 is not drawn
    assert drawn.count("<line ") == 2
    assert drawn.count('fill="none"') == 2
    assert "one &amp; two" in drawn
    assert ranking.over_time({}) == ""


def test_figures_stand_beside_their_yardsticks() -> None:
    told = {
        "class_mean_recall@5": 50.0,
        "top1": 25.0,
        "verb": {"top1": 75.0},
        "baselines_top1": {"most_frequent": 20.0},
    }
    table = ranking.figures(told)
    assert "<td>25.0</td>" in table
    assert "most frequent (true labels)" in table
    assert ranking.figures({"mAP": {}}) == ""


def test_the_page_of_a_run_shows_both(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({"class_mean_recall@5": 50.0, "top1": 25.0}))
    (tmp_path / "rankings.json").write_text(json.dumps(RANKINGS))
    page = write(tmp_path).read_text()
    assert "Next action" in page
    assert "Ranking over time" in page
