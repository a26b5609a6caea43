from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kinoscope import recipe
from kinoscope.errors import KinoscopeError
from kinoscope.localization.settings import LocalizationSettings
from kinoscope.tasks import load_recipe


@pytest.mark.parametrize("name", recipe.published())
def test_every_published_recipe_resolves_to_itself(name: str) -> None:
    settings = load_recipe(name)
    values = yaml.safe_load(recipe.to_yaml(settings))
    assert recipe.validate(type(settings), values) == settings


@pytest.mark.parametrize("name", recipe.published())
def test_every_published_recipe_says_what_it_is(name: str) -> None:
    assert recipe.read_values(name)["description"]
    assert name.startswith(recipe.read_values(name)["task"] + "/")


def test_numbers_without_a_dot_are_numbers() -> None:
    assert recipe.parse_yaml("{a: 1e-4, b: 1.e-3, c: 2E5, d: 10, e: v_1e4}") == {
        "a": 1e-4, "b": 1e-3, "c": 2e5, "d": 10, "e": "v_1e4",
    }  # fmt: skip


def test_base_and_overrides(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("task: localization\ntrain: {epochs: 7, batch_size: 3}\n")
    (tmp_path / "b.yaml").write_text("base: a\ntrain: {epochs: 9}\n")
    settings = load_recipe(str(tmp_path / "b.yaml"), ["train.optimizer.learning_rate=1e-5"])
    assert (settings.train.epochs, settings.train.batch_size) == (9, 3)
    assert settings.train.optimizer.learning_rate == 1e-5


def test_a_circle_of_bases_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b\n")
    (tmp_path / "b.yaml").write_text("base: a\n")
    with pytest.raises(KinoscopeError, match="circle"):
        recipe.read_values(tmp_path / "a.yaml")


def test_another_kind_replaces_its_section() -> None:
    old = {"data": {"kind": "features", "annotations": "x"}}
    assert recipe.merged(old, {"data": {"kind": "streams"}}) == {"data": {"kind": "streams"}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "did you mean 'train.epochs'"),
        ("model.backbone.n_hed=3", "did you mean 'model.backbone.n_head'"),
        ("learning_rate=3", "did you mean 'train.optimizer.learning_rate'"),
        ("train.epochs=soon", "valid number"),
        ("train.epochs", "key=value"),
        ("model.regression_range=[[0,4]]", "6 levels need 6 regression ranges, not 1"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_one(override: str, message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        load_recipe("localization/actionformer_thumos_i3d", [override])


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(KinoscopeError, match="actionformer_thumos_i3d"):
        load_recipe("localization/actionformer_thumos")


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("task: [localization\n")
    with pytest.raises(KinoscopeError, match=r"a\.yaml.*no valid YAML"):
        recipe.read_values(tmp_path / "a.yaml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        LocalizationSettings().train.epochs = 3  # type: ignore[misc]
