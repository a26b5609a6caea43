"""What a run leaves behind: predictions, ground truth, metrics and operating points, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_json
from kinoscope.localization.evaluate import evaluate_events
from kinoscope.localization.sources import Source, ground_truth
from kinoscope.localization.thresholds import fit_thresholds
from kinoscope.timeline import Events


def judge(
    events: Events, source: Source, protocol: str, folder: Path, skipped: dict[str, str]
) -> dict[str, Any]:
    """Writes predictions, ground truth, evaluation and operating points of a run; the evaluation.

    Test videos without any annotation are predicted all the same; there is nothing to evaluate then.
    """
    truth = source.test_truth()
    result: dict[str, Any] = {"protocol": protocol}
    if len(truth):
        thresholds = fit_thresholds(events, truth, len(source.label_names))
        result = evaluate_events(events, truth, protocol, details=True)
        result["thresholds"] = dict(zip(source.label_names, thresholds.tolist(), strict=True))
    result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
    write_json(folder / "predictions.json", events.to_json())
    write_json(folder / "annotations.json", ground_truth(source))
    write_json(folder / "evaluation.json", result)
    return result
