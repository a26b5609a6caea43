"""Trained models by path: a run folder, a weights folder, or an official checkpoint with its recipe."""

from __future__ import annotations

from pathlib import Path

import yaml

from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError
from kinoscope.from_video import VideoModel
from kinoscope.recipe import merged, parse_override, validate
from kinoscope.tasks import load_recipe, room

OFFICIAL = (".pth", ".pt", ".tar", ".ckpt", ".pyth")


def load(
    model: str | Path,
    recipe: str | None = None,
    overrides: tuple[str, ...] = (),
    encoder_weights: str | Path | None = None,
) -> VideoModel:
    """A model ready to `predict(input)`; whatever it was trained on, the input may be a video.

    model: run folder, weights folder, or official checkpoint; `recipe` (a published name or a file) is needed
    for the last, since official files do not say what they are. `overrides` change settings (`a.b=c`) that do
    not belong to the weights, decoding above all. `encoder_weights` is the weights file of the encoder behind a model
    of features, where no package brings it. Raises KinoscopeError where nothing loadable is there.
    """
    path = Path(model)
    if not path.exists():
        raise KinoscopeError(
            "there is no such file or folder", file=path, remedy="give a run or weights folder"
        )
    if path.is_file() and path.name.endswith(OFFICIAL):
        if recipe is None:
            raise KinoscopeError(
                "an official checkpoint does not say which configuration it belongs to",
                file=path,
                remedy="add --recipe NAME; `kinoscope recipes` lists the names",
            )
        settings = load_recipe(recipe, overrides)
        return VideoModel(room(settings.task, "predict").load_official(path, settings), encoder_weights)
    if path.is_file():
        raise KinoscopeError(
            "this file is no model", file=path, remedy="give a folder, or one of " + " ".join(OFFICIAL)
        )
    weights = load_weights(find_weights(path))
    values = yaml.safe_load(weights.recipe)
    for override in overrides:
        values = merged(values, parse_override(override))
    settings = validate(room(values["task"], "settings").Schema, values, weights.folder / "recipe.yaml")
    return VideoModel(room(settings.task, "predict").load(weights, settings), encoder_weights)
