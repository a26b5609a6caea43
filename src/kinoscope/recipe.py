"""Recipes: YAML plus overrides, resolved to one validated, immutable, typed object.

A recipe names its task and what differs from the defaults. `base:` names another recipe, whose values it
inherits; `a.b=c` on the command line overrides both. A wrong key is answered with the nearest right one.
Lists are replaced whole. Numbers such as `1e-4`, strings to a YAML 1.1 parser, are read as numbers.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kinoscope.errors import KinoscopeError


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


S = TypeVar("S", bound=Settings)
RECIPES = Path(str(resources.files("kinoscope") / "recipes"))


class _Loader(yaml.SafeLoader):
    """Safe YAML whose floats need no dot in front of the exponent."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)|[0-9][0-9_]*\.[0-9_]*|\.[0-9]+(?:[eE][-+]?[0-9]+)?|\.inf|\.nan)$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str, file: str | Path | None = None) -> Any:
    """The value that a YAML text holds; KinoscopeError where it is none.

    >>> parse_yaml("lr: 1e-4")
    {'lr': 0.0001}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise KinoscopeError(
            "this is no valid YAML", file=file, value=" ".join(str(error).split())
        ) from error


def published() -> list[str]:
    """Names of the recipes that come with kinoscope: `<task>/<method>_<dataset>`."""
    return sorted(
        str(path.relative_to(RECIPES).with_suffix("").as_posix()) for path in RECIPES.rglob("*.yaml")
    )


def locate(name: str | Path) -> Path:
    """The file of a recipe given by its published name or by a path."""
    path = Path(name)
    for candidate in (path, RECIPES / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    near = difflib.get_close_matches(str(name), published(), n=1, cutoff=0.4)
    remedy = f"did you mean {near[0]!r}?" if near else "`kinoscope recipes` lists them"
    raise KinoscopeError("there is no such recipe", field="recipe", value=str(name), remedy=remedy)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, section by section; a section of another `kind` is replaced whole.

    >>> merged({"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [3]}})
    {'a': {'x': 1, 'y': [3]}}
    """
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        same = isinstance(old, dict) and isinstance(value, dict) and not _other_kind(old, value)
        if same:
            out[key] = merged(old, value)  # type: ignore[arg-type]
        else:
            out[key] = value
    return out


def _other_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" in old and "kind" in new and old["kind"] != new["kind"]


def read_values(name: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a recipe with its bases and overrides, before validation; `task` is among them."""
    values = _read_file(locate(name), ())
    for override in overrides:
        values = merged(values, parse_override(override))
    if not isinstance(values.get("task"), str):
        raise KinoscopeError(
            "a recipe names its task", file=name, field="task", remedy="add `task: localization`"
        )
    return values


def _read_file(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise KinoscopeError("recipes inherit from each other in a circle", file=path, field="base")
    values = parse_yaml(path.read_text(encoding="utf-8"), path)
    if not isinstance(values, dict):
        raise KinoscopeError("a recipe is a mapping of settings", file=path, value=type(values).__name__)
    base = values.pop("base", None)
    if base is None:
        return values
    beside = path.parent / f"{base}.yaml"
    return merged(_read_file(beside if beside.is_file() else locate(base), (*seen, path)), values)


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=c` as nested values.

    >>> parse_override("train.learning_rate=1e-3")
    {'train': {'learning_rate': 0.001}}
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise KinoscopeError(
            "an override has the form key=value", value=text, remedy="for example train.epochs=10"
        )
    nested: Any = parse_yaml(value)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def validate(schema: type[S], values: dict[str, Any], file: str | Path | None = None) -> S:
    """The settings object of `values`; the first fault becomes a KinoscopeError with the nearest key."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _explained(schema, error, file) from error


def _explained(schema: type[Settings], error: ValidationError, file: str | Path | None) -> KinoscopeError:
    faults = error.errors()
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    first = (unknown or faults)[0]
    path = [str(part) for part in first["loc"]]
    if not unknown:
        value = first["input"] if not isinstance(first["input"], dict | BaseModel) else None
        return KinoscopeError(first["msg"], file=file, field=".".join(path), value=value)
    keys = sorted(set(_keys(schema)))
    leaf = path[-1]
    near = [key for key in keys if key.rsplit(".", 1)[-1] == leaf]
    near = near or difflib.get_close_matches(".".join(path), keys, n=1, cutoff=0.6)
    near = near or [
        key for key in keys if difflib.get_close_matches(leaf, [key.rsplit(".", 1)[-1]], cutoff=0.6)
    ]
    remedy = f"did you mean {near[0]!r}?" if near else "`kinoscope recipes NAME` shows all keys"
    return KinoscopeError(
        "there is no such setting", file=file, field=".".join(path), value=first["input"], remedy=remedy
    )


def _keys(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in schema.model_fields.items():
        yield prefix + name
        for part in _models(info.annotation):
            yield from _keys(part, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from _models(part)


def to_yaml(settings: Settings) -> str:
    """The resolved recipe as YAML, every value named."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
