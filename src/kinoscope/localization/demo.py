"""The demo of localization on the built-in PRECOG streams: segments by ActionFormer, their starts by SnapFormer.

Beside both stands a linear frame classifier; the starts of its segments and of ActionFormer's are judged like
SnapFormer's, within 3, 6 and 15 frames.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kinoscope.engine.folder import train_stages
from kinoscope.localization.baseline import linear_baseline
from kinoscope.localization.evaluate import evaluate_events
from kinoscope.localization.settings import StreamsData
from kinoscope.localization.spotting import starts
from kinoscope.localization.stages import stages
from kinoscope.localization.streams import StreamSource
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.tasks import load_recipe
from kinoscope.timeline import Events

PEOPLE = "data.test_subjects=[p07, p08]"


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains on six people, tests on two others, prints mAP beside the baseline's, writes the reports."""
    settings = load_recipe("localization/actionformer_streams", [PEOPLE, *overrides])
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False)
    assert isinstance(settings.data, StreamsData)
    source = StreamSource(settings.data, settings.model)
    baseline = linear_baseline(source)
    linear = evaluate_events(baseline, source.test_truth(), settings.protocol)
    _show("mAP at tIoU", {"ActionFormer": result, "linear frame classifier": linear})
    segments = Events.from_json(json.loads((folder / "predictions.json").read_text()))
    instants = _starts(
        folder / "starts", {"ActionFormer": segments, "linear frame classifier": baseline}, overrides
    )
    return {
        "summary": f"average mAP {100 * result['average_mAP']:.1f}, linear {100 * linear['average_mAP']:.1f}; starts "
        "within 6 frames: "
        + ", ".join(f"{name} {100 * row['mAP']['0.2']:.1f}" for name, row in instants.items()),
        "report": str(write(folder)),
        "average_mAP": result["average_mAP"],
        "mAP": result["mAP"],
        "linear": linear["mAP"],
        "starts": {name: row["mAP"] for name, row in instants.items()},
    }


def _starts(folder: Path, others: dict[str, Events], overrides: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """SnapFormer trained on starts, judged beside the starts of other models' segments."""
    settings = load_recipe("localization/snapformer_streams", [PEOPLE, *overrides])
    found = {"SnapFormer": train_stages(stages(settings), folder, to_yaml(settings), resume=False)}
    assert isinstance(settings.data, StreamsData)
    truth = StreamSource(settings.data, settings.model).test_truth()
    found |= {
        name: evaluate_events(starts(events), truth, settings.protocol) for name, events in others.items()
    }
    _show("mAP of starts within s", found)
    write(folder)
    return found


def _show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        cells = "  ".join(f"{limit}: {100 * value:5.1f}" for limit, value in row["mAP"].items())
        print(f"{name:24} {title} {cells}  average {100 * row['average_mAP']:5.1f}", file=sys.stderr)
