"""The five tasks by name. Rooms are imported where they are used: torch costs seconds.

Every room offers the same functions under the same file names; `room("localization", "stages")` is the module
`kinoscope.localization.stages`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import Settings, read_values, validate

TASKS = ("representation", "recognition", "anticipation", "localization", "skeleton")


def room(task: str, file: str) -> ModuleType:
    """The module `file` of a task. Raises KinoscopeError where the task or its part does not exist."""
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(TASKS)}"
        raise KinoscopeError("there is no such task", field="task", value=task, remedy=remedy)
    name = f"kinoscope.{task}.{file}"
    if importlib.util.find_spec(f"kinoscope.{task}") is None or importlib.util.find_spec(name) is None:
        raise KinoscopeError(f"the task {task} does not offer {file} yet", field="task", value=task)
    return importlib.import_module(name)


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Any:
    """The resolved settings of a recipe, by published name or file, with overrides `a.b=c`."""
    values = read_values(name, overrides)
    schema: type[Settings] = room(values["task"], "settings").Schema
    return validate(schema, values, name)
