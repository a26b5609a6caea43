"""The videos of a report: the picture, below it truth and prediction over time; a click seeks, the position moves.

Beside the page lies a folder `videos` with what the browser plays: a copy of the file where browsers play it and it is
small, else a small one in H.264. Everything works from the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kinoscope.errors import KinoscopeError
from kinoscope.media.annotate import colour
from kinoscope.media.video import VideoInfo, probe
from kinoscope.media.video_writer import write_preview

MOST = 12  # players on a page
COPIED_BYTES = 20_000_000  # a larger file that browsers play is linked, not copied
PLAYED = {
    ".mp4": ("h264", "vp9", "av1", "libdav1d"),
    ".m4v": ("h264",),
    ".webm": ("vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9"),
}
LEFT, RIGHT = 60, 890  # of the time line in its drawing, 900 wide
Row = Sequence[Any]  # start_s, end_s, text, score or None

STYLE = """<style>
.player { margin: 1em 0 2em; } .player .screen { position: relative; display: inline-block; }
.player video { max-width: 100%; max-height: 420px; background: #000; display: block; }
.player canvas { position: absolute; left: 0; top: 0; width: 100%; height: 100%; pointer-events: none; }
.player svg { cursor: pointer; } .player .event:hover { stroke: #000; stroke-width: 1.5; }
.player .now { stroke: #c00; stroke-width: 2; } .player .hidden { display: none; }
.player .holding { min-height: 1.5em; font-weight: 600; }
</style>"""

SCRIPT = """<script>
for (const player of document.querySelectorAll(".player")) {
  const video = player.querySelector("video"), line = player.querySelector("svg"), now = player.querySelector(".now");
  const holding = player.querySelector(".holding"), events = [...player.querySelectorAll(".event")];
  const end = Number(player.dataset.end), overlay = JSON.parse(player.querySelector(".overlay").textContent);
  const canvas = player.querySelector("canvas"), pen = canvas.getContext("2d");
  const seconds = e => {
    const box = line.getBoundingClientRect(), x = (e.clientX - box.left) / box.width * 900;
    return Math.min(end, Math.max(0, (x - LEFT) / (RIGHT - LEFT) * end));
  };
  line.addEventListener("click", e => {
    const start = e.target.dataset.start;
    video.currentTime = start === undefined ? seconds(e) : Number(start) + 0.001;
  });
  const skeleton = t => {
    if (!overlay.points) return;
    const frame = overlay.points[Math.min(Math.floor(t * overlay.fps + 0.1), overlay.points.length - 1)];
    if (!frame) return;
    pen.strokeStyle = "#0f0"; pen.lineWidth = Math.max(1, canvas.width / 200);
    for (const [a, b] of overlay.links) {
      pen.beginPath(); pen.moveTo(frame[2 * a], frame[2 * a + 1]);
      pen.lineTo(frame[2 * b], frame[2 * b + 1]); pen.stroke();
    }
  };
  const boxes = t => {
    for (const [from, to, x, y, w, h] of overlay.boxes || []) if (from <= t && t < to) {
      pen.strokeStyle = "#ff0"; pen.lineWidth = Math.max(2, canvas.width / 150); pen.strokeRect(x, y, w, h);
    }
  };
  let last = -1;
  const show = () => {
    const t = video.currentTime;
    if (t !== last) {
      last = t;
      const x = LEFT + Math.min(t, end) / end * (RIGHT - LEFT);
      now.setAttribute("x1", x); now.setAttribute("x2", x);
      holding.textContent = events.filter(e => e.classList.contains("found") && !e.classList.contains("hidden") &&
        Number(e.dataset.start) <= t && t < Number(e.dataset.end)).map(e => e.dataset.label).join(", ");
      if (overlay.width) {
        canvas.width = overlay.width; canvas.height = overlay.height;
        skeleton(t); boxes(t);
      }
    }
    requestAnimationFrame(show);
  };
  const slider = document.getElementById("threshold");
  if (slider) slider.addEventListener("input", () => events.forEach(e => e.classList.toggle("hidden",
    e.dataset.score !== undefined && Number(slider.value) > 0 && Number(e.dataset.score) < Number(slider.value))));
  show();
}
</script>""".replace("LEFT", str(LEFT)).replace("RIGHT", str(RIGHT))


def players(
    page: Path,
    videos: Mapping[str, str | Path],
    found: Mapping[str, Sequence[Row]],
    truth: Mapping[str, Sequence[Row]],
    overlays: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The section of a page at `page`: a player for each of `videos` (name -> file).

    found, truth: name -> rows [start_s, end_s, text, score]. overlays: name -> what is drawn on the picture (see
    `kinoscope.from_video`). A video that cannot be read is named in its place.
    """
    drawn = ""
    for name, path in list(videos.items())[:MOST]:
        try:
            info = probe(path)
            source = playable(Path(path), info, page.parent / "videos", name)
        except KinoscopeError as error:
            drawn += f"<h3>{escape(name)}</h3><p>{escape(str(error))}</p>"
            continue
        link = quote(os.path.relpath(source, page.parent))
        rows = list(found.get(name, ())), list(truth.get(name, ()))
        drawn += _player(name, link, info, *rows, (overlays or {}).get(name, {}))
    if not drawn:
        return ""
    more = f"<p>{MOST} of {len(videos)} videos are shown.</p>" if len(videos) > MOST else ""
    return f"{STYLE}<p>A click on an event or on the line seeks.</p>{more}{drawn}{SCRIPT}"


def playable(path: Path, info: VideoInfo, folder: Path, name: str) -> Path:
    """A file that browsers play and whose time zero is the first frame: the file itself, its copy, or a small one."""
    known = info.codec in PLAYED.get(path.suffix.lower(), ()) and abs(info.lead_s) < 0.5 / info.fps
    if known and path.stat().st_size > COPIED_BYTES:
        return path
    target = folder / f"{name}{path.suffix.lower() if known else '.mp4'}"
    if target.is_file() and target.stat().st_mtime >= path.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if not known:
        return write_preview(path, target)
    shutil.copyfile(path, target)
    return target


def _player(
    name: str, link: str, info: VideoInfo, found: list[Row], truth: list[Row], overlay: Mapping[str, Any]
) -> str:
    end = max([info.duration_s or 0.0, *(float(row[1]) for row in [*found, *truth])]) or 1.0
    height = 50 if not truth else 82
    rows = [(truth, "truth", 4), (found, "found", height - 46)] if truth else [(found, "found", 4)]
    content = ""
    for events, kind, top in rows:
        content += f'<text x="0" y="{top + 17}">{kind}</text>'
        for row in sorted(events, key=lambda row: row[3] if len(row) > 3 and row[3] is not None else 1.0):
            content += _block(row, kind, top, end)
    base = height - 18
    content += f'<path class="axis" d="M{LEFT} {base}H{RIGHT}"/><text x="{LEFT}" y="{base + 15}">0 s</text>'
    content += f'<text x="{RIGHT}" y="{base + 15}" text-anchor="end">{end:.1f} s</text>'
    content += f'<line class="now" x1="{LEFT}" x2="{LEFT}" y1="0" y2="{base}"/>'
    space = 'xmlns="http://www.w3.org/2000/svg"'
    data = json.dumps(dict(overlay)).replace("</", "<\\/")
    return (
        f'<div class="player" data-end="{end:.6g}"><h3>{escape(name)}</h3><div class="screen">'
        f'<video controls muted preload="auto" src="{escape(link)}"></video><canvas></canvas></div>'
        f'<div class="holding"></div><svg {space} viewBox="0 0 900 {height}">{content}</svg>'
        f'<script type="application/json" class="overlay">{data}</script></div>'
    )


def _block(row: Row, kind: str, top: int, end: float) -> str:
    start, stop, text = float(row[0]), float(row[1]), str(row[2])
    score = row[3] if len(row) > 3 and kind == "found" else None
    x = LEFT + start / end * (RIGHT - LEFT)
    width = max(2.0, (stop - start) / end * (RIGHT - LEFT))
    told = "" if score is None else f", score {float(score):.3f}"
    data = "" if score is None else f' data-score="{float(score):.6g}"'
    return (
        f'<rect class="event {kind}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="24" '
        f'data-start="{start:.6g}" data-end="{stop:.6g}" data-label="{escape(text)}"{data} '
        f'fill="rgb{colour(text)}" fill-opacity="0.8">'
        f"<title>{escape(f'{text}: {start:.2f}–{stop:.2f} s{told}')}</title></rect>"
    )
