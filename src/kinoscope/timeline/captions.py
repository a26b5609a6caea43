"""Captions: what a prediction says about moments of one video, and the files that players and annotators read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from kinoscope.timeline.events import Events


class Caption(NamedTuple):
    """A text that holds from `start_s` to `end_s`, with the score of what it says."""

    start_s: float
    end_s: float
    text: str
    score: float


def captions_of(prediction: Any, video: str | None, duration_s: float) -> list[Caption]:
    """Captions of one video, in order of time; of all that the prediction speaks of where `video` is None.

    prediction: Events; the answer of a classifier ({"classes": [{"label", "score"}]}), which holds throughout; or any
    object with `rows()` of {"video", "time_s", "next": [[label, probability], ...]}, each of which holds until the
    next moment. Anything else (embeddings) has no captions.
    """
    found: list[Caption] = []
    if isinstance(prediction, Events):
        found = [
            Caption(start, end, mine.name(int(label)), score)
            for name, mine in prediction.by_source()
            if video in (None, name)
            for start, end, label, score in zip(
                mine.start_s.tolist(), mine.end_s.tolist(), mine.label, mine.score.tolist(), strict=True
            )
        ]
    elif isinstance(prediction, dict) and prediction.get("classes"):
        best = prediction["classes"][0]
        found = [Caption(0.0, duration_s, str(best["label"]), float(best["score"]))]
    elif hasattr(prediction, "rows"):
        moments = [row for row in prediction.rows() if video in (None, row["video"])]
        ends = [*(row["time_s"] for row in moments[1:]), duration_s]
        found = [
            Caption(row["time_s"], max(end, row["time_s"]), f"next: {row['next'][0][0]}", row["next"][0][1])
            for row, end in zip(moments, ends, strict=True)
        ]
    return sorted(found, key=lambda caption: caption.start_s)


def webvtt(captions: Sequence[Caption]) -> str:
    """Subtitles of one video: one cue a caption."""

    def clock(seconds: float) -> str:
        thousandths = round(seconds * 1000)
        minutes, rest = divmod(thousandths, 60_000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"

    cues = [
        f"{clock(c.start_s)} --> {clock(max(c.end_s, c.start_s + 0.001))}\n{_one_line(c.text)}\n"
        for c in captions
    ]
    return "WEBVTT\n\n" + "\n".join(cues)


def _one_line(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.split())


def elan(captions: Sequence[Caption], media: str) -> str:
    """An ELAN document of one video, a tier for captions that do not overlap: ELAN's tiers hold one at a time.

    media: the video's address, as `Path.as_uri()` gives it.
    """
    space = "http://www.w3.org/2001/XMLSchema-instance"
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "kinoscope",
            "DATE": "2000-01-01T00:00:00+00:00",  # the same prediction gives the same file
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": space,
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    ET.SubElement(header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": media, "MIME_TYPE": "video/*"})
    order = ET.SubElement(root, "TIME_ORDER")
    slots = 0
    for number, tier in enumerate(_tiers(captions), 1):
        element = ET.SubElement(
            root, "TIER", {"TIER_ID": f"kinoscope {number}", "LINGUISTIC_TYPE_REF": "default-lt"}
        )
        for caption in tier:
            slots += 2
            names = [f"ts{slots - 1}", f"ts{slots}"]
            start = round(caption.start_s * 1000)
            for name, time in zip(names, (start, max(round(caption.end_s * 1000), start + 1)), strict=True):
                ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": str(time)})
            holder = ET.SubElement(
                ET.SubElement(element, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                {"ANNOTATION_ID": f"a{slots // 2}", "TIME_SLOT_REF1": names[0], "TIME_SLOT_REF2": names[1]},
            )
            ET.SubElement(holder, "ANNOTATION_VALUE").text = caption.text
    ET.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _tiers(captions: Sequence[Caption]) -> list[list[Caption]]:
    """As few tiers as hold them all without overlap."""
    tiers: list[list[Caption]] = []
    ends = np.empty(0)
    for caption in sorted(captions, key=lambda c: (c.start_s, c.end_s)):
        end = max(caption.end_s, caption.start_s + 0.002)
        free = np.flatnonzero(ends <= caption.start_s)
        if free.size:
            tiers[free[0]].append(caption)
            ends[free[0]] = end
        else:
            tiers.append([caption])
            ends = np.append(ends, end)
    return tiers or [[]]
