"""Skeleton clips in a report: the skeleton moving, what it was taken for, a map of embeddings, the confusion table.

Everything is SVG without script: animations repeat by themselves, a point or a cell tells itself when pointed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

SIZE = 220  # pixels of a moving skeleton
SECONDS = 2.0
MOST_CLASSES = 70  # a larger confusion table cannot be read
SPACE = 'xmlns="http://www.w3.org/2000/svg"'


def colour(label: int) -> str:
    """A colour of its own for every class."""
    return f"hsl({label * 137.508 % 360:.0f} 62% {(48, 62, 38)[label % 3]}%)"


def moving(joints_MTVC: Sequence[Any], links: Sequence[Sequence[int]], size: int = SIZE) -> str:
    """The bodies of a clip seen from the front, moving; joints (M, T, V, 3), y up."""
    points = [p for body in joints_MTVC for frame in body for p in frame]
    left, low = min(p[0] for p in points), min(p[1] for p in points)
    extent = max(max(p[0] for p in points) - left, max(p[1] for p in points) - low, 1e-6)
    scale = (size - 20) / extent

    def place(point: Sequence[float]) -> tuple[str, str]:
        return f"{10 + (point[0] - left) * scale:.1f}", f"{size - 10 - (point[1] - low) * scale:.1f}"

    lines = ""
    for body in joints_MTVC:
        if not any(any(p) for frame in body for p in frame):
            continue  # an absent body
        for a, b in links:
            ends = [(*place(frame[a]), *place(frame[b])) for frame in body]
            moves = "".join(
                f'<animate attributeName="{name}" dur="{SECONDS}s" repeatCount="indefinite" '
                f'values="{";".join(end[i] for end in ends)}"/>'
                for i, name in enumerate(("x1", "y1", "x2", "y2"))
            )
            first = ends[0]
            lines += (
                f'<line x1="{first[0]}" y1="{first[1]}" x2="{first[2]}" y2="{first[3]}" stroke="#3973ac" '
                f'stroke-width="3" stroke-linecap="round">{moves}</line>'
            )
    return (
        f'<svg {SPACE} viewBox="0 0 {size} {size}" role="img" style="width:{size}px;height:{size}px;'
        f'background:#f6f6f6">{lines}</svg>'
    )


def clips(shown: dict[str, Any], predictions: dict[str, Any]) -> str:
    """The first clip of every file moving, with its best classes and nearest training clips."""
    rows: dict[str, dict[str, Any]] = {}
    for row in predictions.get("clips", []):
        rows.setdefault(str(row.get("file")), row)
    drawn = ""
    told = iter(rows.values())
    for name, entry in shown.items():
        if entry.get("kind") != "clip":
            continue
        row = next(told, {})
        best = sorted(row.get("scores", {}).items(), key=lambda item: -item[1])[:3]
        lines = [f"{label} ({score:.2f})" for label, score in best]
        near = [f"{n['label']}: {n['name']} ({n['similarity']:.2f})" for n in row.get("neighbours", [])]
        text = f"<h3>{escape(name)}</h3>"
        if lines:
            text += f"<p>{escape(', '.join(lines))}</p>"
        if near:
            text += f"<p>Nearest training clips: {escape('; '.join(near))}</p>"
        drawn += text + moving(entry["joints"], entry["links"])
    return drawn


def embedding_map(points: dict[str, Any], names: Sequence[str]) -> str:
    """Scatter of test clips by t-SNE: a colour a class, the clip's name when pointed at."""
    xs, ys = points.get("x", []), points.get("y", [])
    if len(xs) < 2:
        return ""
    left, low = min(xs), min(ys)
    scale = 560 / max(max(xs) - left, max(ys) - low, 1e-9)
    marks = ""
    for x, y, label, name in zip(xs, ys, points["label"], points["name"], strict=True):
        marks += (
            f'<circle cx="{20 + (x - left) * scale:.1f}" cy="{20 + (y - low) * scale:.1f}" r="5" '
            f'style="fill:{colour(label)}"><title>{escape(f"{names[label]}: {name}")}</title></circle>'
        )
    legend = "".join(
        f'<span><i style="background:{colour(label)}"></i>{escape(names[label])}</span>'
        for label in sorted(set(points["label"]))
    )
    return f'<p class="legend">{legend}</p><svg {SPACE} viewBox="0 0 600 600" role="img">{marks}</svg>'


def confusion(table: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Rows truth, columns prediction; the darker, the larger the share of the row."""
    present = [i for i, row in enumerate(table) if any(row) or any(other[i] for other in table)]
    if not present or len(present) > MOST_CLASSES:
        return ""
    side, margin = min(32.0, 640 / len(present)), 200
    cells = ""
    for y, i in enumerate(present):
        total = max(sum(table[i]), 1)
        cells += (
            f'<text x="{margin - 6}" y="{(y + 0.75) * side:.1f}" text-anchor="end">{escape(names[i])}</text>'
        )
        for x, j in enumerate(present):
            count = table[i][j]
            if not count:
                continue
            hue = "#3973ac" if i == j else "#c0392b"
            cells += (
                f'<rect x="{margin + x * side:.1f}" y="{y * side:.1f}" width="{side:.1f}" height="{side:.1f}" '
                f'style="fill:{hue};opacity:{0.2 + 0.8 * count / total:.2f}">'
                f"<title>{escape(f'{names[i]} taken for {names[j]}: {count} of {total}')}</title></rect>"
            )
    height = len(present) * side
    return f'<svg {SPACE} viewBox="0 0 900 {height:.0f}" role="img">{cells}</svg>'


def accuracies(per_class: dict[str, float]) -> str:
    """A bar a class, in percent."""
    bars = ""
    for index, (name, value) in enumerate(sorted(per_class.items(), key=lambda item: -item[1])):
        y, length = index * 22, max(0.0, min(100.0, value)) * 6
        bars += f'<text x="190" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        bars += f'<rect class="bar" x="200" y="{y + 3}" width="{length:.1f}" height="16"/>'
        bars += f'<text x="{206 + length:.1f}" y="{y + 15}">{value:.1f} %</text>'
    return f'<svg {SPACE} viewBox="0 0 900 {len(per_class) * 22}" role="img">{bars}</svg>' if bars else ""


def numbers(evaluation: dict[str, Any]) -> str:
    """The accuracies of all protocols of a run, in percent."""
    names = {
        "top1": "top-1",
        "top5": "top-5",
        "linear": "linear evaluation",
        "linear_untrained": "linear evaluation of an untrained encoder",
        "knn": "nearest neighbour on embeddings",
        "knn_untrained": "nearest neighbour, untrained encoder",
        "knn_poses": "nearest neighbour on poses",
    }
    rows = ""
    for key, value in evaluation.items():
        if isinstance(value, int | float) and (key in names or key.startswith(("labels_", "top1_"))):
            rows += f"<tr><td>{escape(names.get(key, key.replace('_', ' ')))}</td><td>{value:.2f} %</td></tr>"
    return f"<table>{rows}</table>" if rows else ""
