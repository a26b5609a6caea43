from __future__ import annotations

from pathlib import Path

from kinoscope.anticipation.check import check
from kinoscope.tasks import load_recipe

RECIPE = "anticipation/sgear_streams"


def test_the_published_recipe_is_in_order() -> None:
    found = check(load_recipe(RECIPE))
    assert not found["errors"]
    assert not found["warnings"]


def test_what_is_wrong_is_told() -> None:
    found = check(load_recipe(RECIPE, ["model.mean_representation=true", "train.batch_size=4000"]))
    assert "prototypes" in found["errors"][0]
    assert "batch" in found["warnings"][0]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    found = check(load_recipe(RECIPE, [f"data.train={tmp_path / 'none.npz'}"]))
    assert "none.npz" in found["errors"][0]
