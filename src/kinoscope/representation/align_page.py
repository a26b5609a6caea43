"""The page of an alignment: the similarity matrix of a pair of videos; a click on a cell shows both frames."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from kinoscope.representation.alignment import align
from kinoscope.representation.evaluate import similarity_matrix

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>kinoscope align</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 960px; margin: 2em auto; padding: 0 1em; }}
canvas {{ width: 480px; image-rendering: pixelated; cursor: crosshair; border: 1px solid #999; }}
.pair {{ display: flex; gap: 2em; flex-wrap: wrap; }} img {{ height: 192px; }}
table {{ border-collapse: collapse; }} td, th {{ text-align: left; padding: .2em 1em; border-bottom: 1px solid #eee; }}
</style></head><body>
<h1>Alignment</h1>
<p>Kendall's tau {tau}, {method}. The reference is {reference}.</p>
<table><tr><th>pair</th><th>Kendall's tau</th></tr>{rows}</table>
<p><label>Pair <select id="pair"></select></label>
Dark: alike. Rows: reference, top to bottom; the red line is the alignment.</p>
<div class="pair"><canvas id="matrix"></canvas>
<div><p id="told">Click on a cell.</p><img id="left" alt=""><img id="right" alt=""></div></div>
<p><video src="aligned.mp4" controls muted loop style="max-width:100%"></video></p>
<p><img src="retrieval.png" alt="nearest frames" style="height:auto;max-width:100%"></p>
<script type="application/json" id="data">{data}</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const select = document.getElementById("pair"), canvas = document.getElementById("matrix");
data.pairs.forEach((pair, k) => select.add(new Option(pair.name, k)));
function draw() {{
  const pair = data.pairs[select.value], context = canvas.getContext("2d");
  canvas.height = pair.values.length; canvas.width = pair.values[0].length;
  pair.values.forEach((row, i) => row.forEach((value, j) => {{
    const grey = 255 - value; context.fillStyle = `rgb(${{grey}},${{grey}},255)`;
    context.fillRect(j, i, 1, 1);
  }}));
  context.fillStyle = "rgb(200,40,40)";
  pair.path.forEach((j, i) => context.fillRect(j, i, 1, 1));
  show(0, pair.path[0]);
}}
function show(i, j) {{
  const one = data.videos[0], other = data.videos[Number(select.value) + 1];
  document.getElementById("left").src = "data:image/jpeg;base64," + one.pictures[i];
  document.getElementById("right").src = "data:image/jpeg;base64," + other.pictures[j];
  document.getElementById("told").textContent =
    `${{one.name}} ${{one.seconds[i]}} s, ${{other.name}} ${{other.seconds[j]}} s`;
}}
canvas.addEventListener("click", event => {{
  const box = canvas.getBoundingClientRect();
  show(Math.min(Math.floor((event.clientY - box.top) / box.height * canvas.height), canvas.height - 1),
       Math.min(Math.floor((event.clientX - box.left) / box.width * canvas.width), canvas.width - 1));
}});
select.addEventListener("change", draw);
draw();
</script></body></html>
"""


def page(videos: Sequence[dict[str, Any]], result: dict[str, Any]) -> str:
    """The page. videos: name, rows (T, D), seconds (T,), pictures (T JPEG files); the first is the reference."""
    first, pairs = videos[0], []
    for other in videos[1:]:
        like = similarity_matrix(other["rows"], first["rows"])  # transposed: rows are the reference's
        level = np.round(255 * like / max(float(like.max()), 1e-12)).astype(int)
        path = align(first["rows"], other["rows"], result["method"] == "dtw")
        pairs.append(
            {"name": f"{first['name']} and {other['name']}", "values": level.tolist(), "path": path.tolist()}
        )
    shown = [
        {
            "name": video["name"],
            "seconds": np.round(video["seconds"], 2).tolist(),
            "pictures": [base64.b64encode(picture).decode() for picture in video["pictures"]],
        }
        for video in videos
    ]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{tau:.3f}</td></tr>"
        for name, tau in result["kendalls_tau_of_pairs"].items()
    )
    return PAGE.format(
        tau=f"{result['kendalls_tau']:.3f}",
        method={"dtw": "dynamic time warping", "nearest": "nearest neighbours"}[result["method"]],
        reference=escape(first["name"]),
        rows=rows,
        data=json.dumps({"videos": shown, "pairs": pairs}).replace("</", "<\\/"),
    )
