"""The page that leads to the pages of several runs."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_text

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>kinoscope</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#222}}
li{{margin:.6rem 0}}a{{color:#1c5d99}}</style></head>
<body><h1>kinoscope</h1><ul>
{items}
</ul></body></html>
"""


def write_index(folder: Path, results: Mapping[str, Mapping[str, Any]]) -> Path:
    """Writes `folder/index.html`: a line a task with its summary and a link to its report; the path.

    results: task -> {"summary": sentence, "report": path}.
    """
    items = []
    for task, result in results.items():
        link = html.escape(os.path.relpath(result["report"], folder))
        items.append(
            f'<li><a href="{link}">{html.escape(task)}</a>: {html.escape(str(result["summary"]))}</li>'
        )
    page = folder / "index.html"
    write_text(page, PAGE.format(items="\n".join(items)))
    return page
