"""`--golden DIR` runs the golden cases of another folder, and only those."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kinoscope", deadline=None)  # speed lives in benchmarks/: no test is timed
settings.load_profile("kinoscope")

VECTORS = Path(__file__).parent / "vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", metavar="DIR", help="run the golden cases below DIR, and nothing else")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case_folder" in metafunc.fixturenames:
        root = Path(metafunc.config.getoption("--golden") or VECTORS)
        folders = sorted(path.parent for path in root.rglob("case.json"))
        metafunc.parametrize("case_folder", folders, ids=["/".join(folder.parts[-2:]) for folder in folders])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--golden"):
        chosen = [item for item in items if item.name.startswith("golden[")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
