"""Golden cases: the numbers that the official implementations computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import kit


def golden(case_folder: Path) -> None:
    case = kit.Case.load(case_folder)
    operation = case.spec["operation"]
    try:
        run = kit.runner(operation)
    except KeyError:
        pytest.fail(f"no runner for the operation {operation}")
    faults = case.faults(run(case))
    assert not faults, "\n".join(faults)
