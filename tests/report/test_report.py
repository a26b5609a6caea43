"""The page of a run: what it says, that it stands alone, and that its slider works in a browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report.browser import browser, needs_browser

from kinoscope.errors import KinoscopeError
from kinoscope.report import write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    labels = ["High <jump>", "Dive"]
    events = [[i * 0.1, i * 0.1 + 1, i % 2, i / 100] for i in range(100)]
    rows = [{"event": "train", "stage": "fit", "step": i, "epoch": 0, "loss": 1 / (i + 1)} for i in range(5)]
    rows.append({"event": "validation", "stage": "fit", "step": 5, "epoch": 0, "average_mAP": 0.5})
    files = {
        "predictions.json": {"label_names": labels, "events": {f"v{i}": events for i in range(10)}},
        "annotations.json": {
            "label_names": labels,
            "videos": {"v0": {"duration_s": 20.0, "events": [[1.0, 3.0, "Dive"]]}},
        },
        "evaluation.json": {
            "protocol": "thumos",
            "average_mAP": 0.61234,
            "mAP": {"0.5": 0.7},
            "per_class": {"High <jump>": 0.25, "Dive": 0.75},
            "errors": {"background": 17},
            "taken_for": {
                "label_names": ["Run", "Dive", "(nothing)"],
                "table": [[3, 1, 0], [0, 0, 2], [0, 0, 0]],
            },
            "skipped": [{"video": "lost</script>", "why": "no frames"}],
            "thresholds": {"Dive": 0.4},
        },
        "environment.json": {"python": "3.11"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text("task: localization\n")
    return folder


def test_content_and_no_outside_links(run: Path) -> None:
    path = write(run)
    assert path == run / "report.html"
    page = path.read_text()
    for words in ("High &lt;jump&gt;", "Dive", "0.6123", "0.7000", "background", "17", "no frames",
                  "lost&lt;/script&gt;", "task: localization", "Dive: 1.00–3.00 s", "thumos",
                  "Run taken for Dive: 1 of 4"):  # fmt: skip
        assert words in page
    assert page.count('class="prediction"') == 8 * 60
    assert page.count('class="truth"') == 1
    assert page.count("<polyline") == 2
    alone = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in alone
    assert "https://" not in alone


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl", "environment.json", "predictions.json",
                                  "annotations.json", "evaluation.json"])  # fmt: skip
def test_each_file_alone_is_enough(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(run / name, tmp_path / "one" / name)
    assert write(tmp_path / "one", tmp_path / "out" / "page.html").is_file()


def test_empty_folder_and_broken_files_are_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(KinoscopeError, match="nothing to report"):
        write(tmp_path / "empty")
    (run / "metrics.jsonl").write_text("{}\n{")
    with pytest.raises(KinoscopeError, match="line 2"):
        write(run)


@needs_browser
def test_slider_hides_predictions(run: Path, tmp_path: Path) -> None:
    count = (
        "return [...document.querySelectorAll('.prediction')]"
        ".filter(e => getComputedStyle(e).display !== 'none').length"
    )
    move = (
        "const s = document.getElementById('threshold'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'));"
    )
    with browser(tmp_path / "profile") as driver:
        driver.get(write(run).as_uri())
        assert driver.execute_script(count) == 480
        driver.execute_script(move, "0.9")
        assert driver.execute_script(count) == 80
        driver.execute_script(move, "0")
        assert driver.execute_script(count) == 480


def test_uncertain_bounds_are_drawn_as_error_bars(run: Path) -> None:
    assert "spread" not in write(run).read_text().split("<body")[1]
    content = json.loads((run / "predictions.json").read_text())
    content["uncertainty_s"] = {"v0": [[0.25, 0.5]] * 100}
    (run / "predictions.json").write_text(json.dumps(content))
    page = write(run).read_text()
    assert page.count('class="prediction spread"') == 60
    assert "start ±0.25 s, end ±0.50 s" in page
