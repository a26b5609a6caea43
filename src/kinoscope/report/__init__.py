"""The run as one web page: self-contained, no outside links, readable offline.

`write` gathers what a run folder holds (each file is optional) and draws it: metrics, errors, curves of
training and a timeline per video whose predictions a slider thins out by score.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from kinoscope.errors import KinoscopeError
from kinoscope.report import clips, ranking
from kinoscope.report.page import PAGE

__all__ = ["write"]

FILES = (
    "recipe.yaml",
    "metrics.jsonl",
    "environment.json",
    "predictions.json",
    "annotations.json",
    "evaluation.json",
    "captions.json",
)
VIDEOS = 8
PREDICTIONS = 60
WIDTH = 900


def write(run_folder: Path, target: Path | None = None) -> Path:
    """Write the page of a run to `target` (default: report.html in the run's folder) and return its path."""
    run_folder = Path(run_folder)
    if not any((run_folder / name).is_file() for name in FILES):
        raise KinoscopeError(
            "nothing to report: the folder holds none of " + ", ".join(FILES),
            file=run_folder,
            remedy="give the folder of a run that has trained, predicted or been evaluated",
        )
    evaluation = _object(run_folder / "evaluation.json")
    predictions = _object(run_folder / "predictions.json")
    annotations = _object(run_folder / "annotations.json")
    try:
        timelines, scores = _timelines(predictions, annotations)
        target = run_folder / "report.html" if target is None else Path(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        sections = [
            ("Videos", _videos(run_folder, target, predictions, annotations)),
            ("Clips", clips.clips(_object(run_folder / "overlays.json"), predictions)),
            *(_clip_evaluation(evaluation) if "confusion" in evaluation else _evaluation(evaluation)),
            ("Where it looks", _picture(run_folder / "where_it_looks.png")),
            ("Next action", ranking.figures(evaluation)),
            ("Ranking over time", ranking.over_time(_object(run_folder / "rankings.json"))),
            ("Curves", _curves(_lines(run_folder / "metrics.jsonl"))),
            ("Timelines", timelines),
            ("Skipped videos", _skipped(evaluation.get("skipped") or [])),
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise KinoscopeError(
            f"a file of the run is not of the expected shape ({type(error).__name__}: {error})",
            file=run_folder,
            remedy="write predictions, annotations and evaluation anew with this version",
        ) from error
    details = ""
    for name in ("recipe.yaml", "environment.json"):
        if (run_folder / name).is_file():
            text = escape(_text(run_folder / name))
            details += f"<details><summary>{name}</summary><pre>{text}</pre></details>"
    sections.append(("Recipe and environment", details))
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    data = json.dumps({"threshold": 0.0, "scores": scores}).replace("</", "<\\/")
    title = escape(run_folder.resolve().name)
    target.write_text(Template(PAGE).substitute(title=title, body=body, data=data), encoding="utf-8")
    return target


def _videos(folder: Path, page: Path, predictions: dict[str, Any], annotations: dict[str, Any]) -> str:
    """Players of the videos that `videos.json` names; what was found comes from `captions.json`, else the events."""
    files = _object(folder / "videos.json")
    if not files:
        return ""
    from kinoscope.report.players import players

    found = _object(folder / "captions.json")
    if not found:
        names = predictions.get("label_names") or []
        found = {
            video: [
                [start, end, names[label] if names else str(label), score]
                for start, end, label, score in rows
            ]
            for video, rows in predictions.get("events", {}).items()
        }
    names = annotations.get("label_names") or []
    truth = {
        video: [
            [start, end, names[label] if isinstance(label, int) else label]
            for start, end, label in entry["events"]
        ]
        for video, entry in annotations.get("videos", {}).items()
    }
    return players(page, files, found, truth, _object(folder / "overlays.json"))


def _picture(file: Path) -> str:
    """A picture of the run inside the page."""
    if not file.is_file():
        return ""
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{file.stem}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KinoscopeError(
            f"cannot be read ({error})", file=path, remedy="write the file as UTF-8"
        ) from error


def _parse(text: str, path: Path, field: str | None = None) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise KinoscopeError(
            f"not JSON ({error})", file=path, field=field, remedy="write the file anew"
        ) from error
    if not isinstance(content, dict):
        raise KinoscopeError("not a JSON object", file=path, field=field, remedy="write the file anew")
    return content


def _object(path: Path) -> dict[str, Any]:
    return _parse(_text(path), path) if path.is_file() else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    rows = enumerate(_text(path).splitlines(), 1) if path.is_file() else []
    return [_parse(row, path, f"line {number}") for number, row in rows if row.strip()]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.4f}"


def _svg(height: float, content: str) -> str:
    space = 'xmlns="http://www.w3.org/2000/svg"'
    return f'<svg {space} viewBox="0 0 {WIDTH} {height:g}" role="img">{content}</svg>'


def _colour(label: int) -> str:
    return f"hsl({label * 137.508 % 360:.0f} 62% {(48, 62, 38)[label % 3]}%)"


def _evaluation(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"mAP at tIoU {overlap}", _number(value)) for overlap, value in evaluation.get("mAP", {}).items()
    ]
    if evaluation.get("average_mAP") is not None:
        rows.append(("average mAP", _number(evaluation["average_mAP"])))
    protocol = f"<p>Protocol: {escape(str(evaluation['protocol']))}</p>" if "protocol" in evaluation else ""
    metrics = protocol + (_table(("metric", "value"), rows) if rows else "")
    known = {name: ap for name, ap in evaluation.get("per_class", {}).items() if ap is not None}
    bars = ""
    for index, (name, ap) in enumerate(sorted(known.items(), key=lambda item: -item[1])):
        y, length = index * 22, max(0.0, min(1.0, ap)) * 600 if math.isfinite(ap) else 0.0
        bars += f'<text x="190" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        bars += f'<rect class="bar" x="200" y="{y + 3}" width="{length:.1f}" height="16"/>'
        bars += f'<text x="{206 + length:.1f}" y="{y + 15}">{_number(ap)}</text>'
    taken = evaluation.get("taken_for") or {"table": [], "label_names": []}
    errors = [(kind, f"{count:g}") for kind, count in evaluation.get("errors", {}).items()]
    limits = [(name, _number(value)) for name, value in (evaluation.get("thresholds") or {}).items()]
    return [
        ("Metrics", metrics),
        ("Average precision per class", _svg(len(known) * 22, bars) if bars else ""),
        ("Errors", _table(("kind", "count"), errors) if errors else ""),
        ("Confusion", clips.confusion(taken["table"], taken["label_names"])),
        ("Thresholds per class", _table(("class", "threshold"), limits) if limits else ""),
    ]


def _clip_evaluation(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """What is told of trimmed clips that have one class each."""
    names = evaluation.get("label_names") or [str(i) for i in range(len(evaluation["confusion"]))]
    protocol = f"<p>Protocol: {escape(str(evaluation.get('protocol', '')))}</p>"
    return [
        ("Metrics", protocol + clips.numbers(evaluation)),
        ("Accuracy per class", clips.accuracies(evaluation.get("per_class", {}))),
        ("Confusion", clips.confusion(evaluation["confusion"], names)),
        ("Map of embeddings (t-SNE)", clips.embedding_map(evaluation.get("embedding_map", {}), names)),
    ]


def _curves(rows: list[dict[str, Any]]) -> str:
    drawn = ""
    for event, name in (("train", "loss"), ("validation", "average_mAP")):
        series: dict[str, list[tuple[float, float]]] = {}
        for place, row in enumerate(rows):
            value = row.get(name)
            if row.get("event") == event and isinstance(value, int | float) and math.isfinite(value):
                step = row.get("step", row.get("epoch"))
                x = float(place if step is None else step)
                series.setdefault(str(row.get("stage", "")), []).append((x, value))
        for stage, points in series.items():
            drawn += f"<h3>{escape(f'{event} {name} {stage}'.strip())}</h3>{_curve(points)}"
    return drawn


def _curve(points: list[tuple[float, float]]) -> str:
    xs, ys = zip(*points, strict=True)
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    path = [
        ((x - left) / ((right - left) or 1) * 800 + 80, 150 - (y - low) / ((high - low) or 1) * 130)
        for x, y in points
    ]
    marks = "".join(
        f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5"><title>step {x:g}: {y:.5g}</title></circle>'
        for (px, py), (x, y) in zip(path, points, strict=True)
        if len(points) <= 200
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    axes = f'<path class="axis" d="M80 15V155H{WIDTH - 15}"/><text x="80" y="172">{left:g}</text>'
    axes += f'<text x="880" y="172" text-anchor="end">{right:g}</text>'
    axes += f'<text x="74" y="24" text-anchor="end">{high:.4g}</text>'
    axes += f'<text x="74" y="154" text-anchor="end">{low:.4g}</text>' if high > low else ""
    return _svg(180, f'{axes}<polyline points="{line}"/>{marks}')


def _timelines(predictions: dict[str, Any], annotations: dict[str, Any]) -> tuple[str, list[float]]:
    names = [str(name) for name in predictions.get("label_names") or annotations.get("label_names") or []]
    truth, found = annotations.get("videos", {}), predictions.get("events", {})
    spread = predictions.get("uncertainty_s", {})
    videos = list(dict.fromkeys([*(video for video in truth if video in found), *found, *truth]))
    scores: list[float] = []
    used: set[str] = set()
    drawn = ""

    def name_of(label: Any) -> str:  # predictions carry an index, annotations the label or an index
        if isinstance(label, int) and 0 <= label < len(names):
            return names[label]
        return str(label)

    def block(event: list[Any], end: float, top: int, score: float | None) -> str:
        label = name_of(event[2])
        used.add(label)
        if label not in names:
            names.append(label)
        x, width = 60 + event[0] / end * 830, max(1.0, (event[1] - event[0]) / end * 830)
        kind = "truth" if score is None else "prediction"
        data = "" if score is None else f' data-score="{score:.6g}"'
        tip = f"{label}: {event[0]:.2f}–{event[1]:.2f} s" + ("" if score is None else f", score {score:.3f}")
        return (
            f'<rect class="{kind}"{data} x="{x:.1f}" y="{top}" width="{width:.1f}" height="24" '
            f'fill="{_colour(names.index(label))}"><title>{escape(tip)}</title></rect>'
        )

    def error_bars(event: list[Any], apart: list[float], end: float) -> str:
        """One deviation to either side of both bounds."""
        path, tip = "", f"start ±{apart[0]:.2f} s, end ±{apart[1]:.2f} s"
        for bound, deviation, y in ((event[0], apart[0], 44), (event[1], apart[1], 52)):
            left, right = (
                60 + min(max(t, 0), end) / end * 830 for t in (bound - deviation, bound + deviation)
            )
            path += f"M{left:.1f} {y - 3}v6m0 -3H{right:.1f}m0 -3v6"
        return f'<path class="prediction spread" data-score="{event[3]:.6g}" d="{path}"><title>{tip}</title></path>'

    for video in videos[:VIDEOS]:
        entry = truth.get(video, {})
        events = entry.get("events", [])
        rows = found.get(video, [])
        order = sorted(range(len(rows)), key=lambda row: -rows[row][3])[:PREDICTIONS]
        kept = [rows[row] for row in order]
        length = float(entry.get("duration_s") or 0)
        end = max([length, *(float(event[1]) for event in [*events, *kept])]) or 1.0
        content = '<text x="0" y="21">truth</text><text x="0" y="53">found</text>'
        content += "".join(block(event, end, 4, None) for event in events)
        content += "".join(block(event, end, 36, float(event[3])) for event in reversed(kept))
        if video in spread:
            content += "".join(error_bars(rows[row], spread[video][row], end) for row in reversed(order))
        content += '<path class="axis" d="M60 64H890"/><text x="60" y="80">0 s</text>'
        content += f'<text x="890" y="80" text-anchor="end">{end:.1f} s</text>'
        scores += [float(event[3]) for event in kept]
        drawn += f"<h3>{escape(str(video))}</h3>{_svg(84, content)}"
    if not drawn:
        return "", scores
    legend = "".join(
        f'<span><i style="background:{_colour(index)}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
        if name in used
    )
    highest = max([1.0, *scores])
    slider = (
        '<label>Score at least <input type="range" id="threshold" min="0" '
        f'max="{highest:.6g}" step="0.01" value="0"> <output id="shown"></output></label>'
    )
    more = f"<p>{VIDEOS} of {len(videos)} videos are drawn.</p>" if len(videos) > VIDEOS else ""
    return f'<p>{slider}</p><p class="legend">{legend}</p>{more}{drawn}', scores


def _skipped(skipped: list[dict[str, Any]]) -> str:
    items = "".join(f"<li>{escape(str(x['video']))}: {escape(str(x['why']))}</li>" for x in skipped)
    return f"<ul>{items}</ul>" if items else ""
