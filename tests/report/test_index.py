from __future__ import annotations

from pathlib import Path

from kinoscope.report.index import write_index


def test_every_task_has_a_line_and_a_relative_link(tmp_path: Path) -> None:
    results = {
        "localization": {
            "summary": "mAP < 90 & rising",
            "report": str(tmp_path / "localization" / "report.html"),
        },
        "skeleton": {"summary": "good", "report": str(tmp_path / "skeleton" / "report.html")},
    }
    text = write_index(tmp_path, results).read_text()
    assert 'href="localization/report.html"' in text
    assert 'href="skeleton/report.html"' in text
    assert "mAP &lt; 90 &amp; rising" in text
