"""What comes next, over time: figures beside the yardsticks, and the ranking while a stream is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, LEFT = 900.0, 18.0, 130.0
FIGURES = ("top1", "top5", "class_mean_recall@5", "class_mean_top1")
PARTS = {
    "observable": "something observed",
    "after_the_first": "after the first action",
    "all_segments": "all segments",
    "verb": "verb",
    "noun": "noun",
}


def figures(evaluation: Mapping[str, Any]) -> str:
    """A table of the figures in percent; empty for a run of another kind."""
    if "class_mean_recall@5" not in evaluation:
        return ""
    rows = [("this run", evaluation)]
    rows += [
        (title, evaluation[part]) for part, title in PARTS.items() if isinstance(evaluation.get(part), dict)
    ]
    lines = "".join(
        f"<tr><td>{escape(title)}</td>"
        + "".join(f"<td>{_percent(values.get(name))}</td>" for name in FIGURES)
        + "</tr>"
        for title, values in rows
    )
    for name, value in (evaluation.get("baselines_top1") or {}).items():
        lines += f"<tr><td>{escape(name.replace('_', ' '))} (true labels)</td><td>{_percent(value)}</td></tr>"
    head = "".join(f"<th>{escape(name)}</th>" for name in ("percent", *FIGURES))
    interval = evaluation.get("class_mean_recall@5_interval") or {}
    table = f"<table><tr>{head}</tr>{lines}</table>"
    if not interval:
        return table
    low, high = (_percent(interval.get(end)) for end in ("low", "high"))
    return f"{table}<p>class-mean Recall@5 lies between {low} and {high} (bootstrap, 95 %).</p>"


def over_time(rankings: Mapping[str, Any]) -> str:
    """For each stream: poses as seen, a row a class that darkens with its probability, and the truth outlined."""
    if not rankings.get("streams"):
        return ""
    names, tau = rankings["label_names"], float(rankings["tau_a_s"])
    intro = (
        f"<p>Each column is a moment; the row's shade is the probability that this action starts next. Frames mark the "
        f"truth: the action that does start {tau:g} s after the moment, or next after that.</p>"
    )
    return intro + "".join(
        _stream(stream, names, rankings.get("links") or [], tau) for stream in rankings["streams"]
    )


def _stream(
    stream: Mapping[str, Any], names: Sequence[str], links: Sequence[Sequence[int]], tau: float
) -> str:
    scale = (WIDTH - LEFT) / max(float(stream["duration_s"]), 1e-6)
    times = [float(t) for t in stream["times"]]
    step = (times[1] - times[0]) if len(times) > 1 else float(stream["duration_s"])
    top = 70.0
    parts = [_poses(stream, links, scale)]
    for k, name in enumerate(names):
        y = top + k * ROW
        parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        for t, row in zip(times, stream["probability"], strict=True):
            if row[k] >= 0.02:
                x = LEFT + (t - step / 2) * scale
                parts.append(
                    f'<rect class="bar" x="{x:.1f}" y="{y}" width="{step * scale:.1f}" height="{ROW - 2}" '
                    f'opacity="{row[k]:.2f}"><title>{escape(name)} {row[k]:.2f} at {t:g} s</title></rect>'
                )
    before = 0.0
    for start, end, label in stream["truth"]:
        until = max(float(start) - tau, before)
        y = top + int(label) * ROW
        parts.append(
            f'<rect x="{LEFT + before * scale:.1f}" y="{y}" width="{(until - before) * scale:.1f}" height="{ROW - 2}" '
            'fill="none" stroke="#b03030" stroke-width="1.5"/>'
        )
        before = until
        line = top + len(names) * ROW + 4
        parts.append(
            f'<rect x="{LEFT + float(start) * scale:.1f}" y="{line}" width="{(float(end) - float(start)) * scale:.1f}" '
            f'height="12" fill="#b03030" opacity=".35"><title>{escape(names[int(label)])}</title></rect>'
        )
    parts.append(f'<text x="{LEFT - 8}" y="{top + len(names) * ROW + 14}" text-anchor="end">actions</text>')
    height = top + len(names) * ROW + 24
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img"'
    return f"<h3>{escape(str(stream['video']))}</h3><svg {box}>{''.join(parts)}</svg>"


def _poses(stream: Mapping[str, Any], links: Sequence[Sequence[int]], scale: float) -> str:
    drawn = []
    every = max(1, round(len(stream["poses"]) / 16))
    for t, pose in list(zip(stream["pose_times"], stream["poses"], strict=True))[::every]:
        x0 = LEFT + float(t) * scale + 12
        for a, b in links:
            (x1, y1), (x2, y2) = ((x0 + 28 * x, 34 - 28 * y) for x, y in (pose[a], pose[b]))
            place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            drawn.append(f'<line {place} stroke="#555"/>')
    return "".join(drawn)


def _percent(value: Any) -> str:
    return "–" if value is None else f"{float(value):.1f}"
