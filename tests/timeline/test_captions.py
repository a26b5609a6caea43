"""Captions of every kind of answer, and the files that other tools read them from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kinoscope import Events
from kinoscope.media.labelled import read_database
from kinoscope.timeline.captions import Caption, captions_of, elan, webvtt

SPANS = st.lists(
    st.tuples(st.integers(0, 90_000), st.integers(2, 30_000), st.sampled_from("abc")), max_size=20
)


class Ahead:
    """As an anticipator answers."""

    def rows(self) -> list[dict[str, Any]]:
        times = ((1.0, "jump"), (2.0, "land"))
        return [{"video": "v", "time_s": t, "next": [[label, 0.5], ["x", 0.1]]} for t, label in times]


def test_captions_of_every_kind_of_answer() -> None:
    events = Events.of("v", [[2, 3], [0, 1]], [1, 0], [0.5, 0.25], ("run", "walk"))
    assert captions_of(events, "v", 9.0) == [Caption(0, 1, "run", 0.25), Caption(2, 3, "walk", 0.5)]
    assert captions_of(events, "other", 9.0) == []
    assert captions_of(Ahead(), "v", 9.0) == [
        Caption(1, 2, "next: jump", 0.5),
        Caption(2, 9, "next: land", 0.5),
    ]
    classes = {"classes": [{"label": "walk", "score": 0.75}, {"label": "run", "score": 0.25}]}
    assert captions_of(classes, "v", 9.0) == [Caption(0, 9, "walk", 0.75)]
    assert captions_of([1, 2], "v", 9.0) == []


def test_webvtt_is_escaped_and_every_cue_lasts() -> None:
    text = webvtt([Caption(3599.9996, 3599.9996, "a < b\n\nc", 1.0)])
    assert text == "WEBVTT\n\n01:00:00.000 --> 01:00:00.001\na &lt; b c\n"


@given(SPANS)
def test_elan_holds_every_caption_without_overlap_in_a_tier(spans: list[tuple[int, int, str]]) -> None:
    import tempfile

    captions = [Caption(start / 1000, (start + length) / 1000, label, 1.0) for start, length, label in spans]
    text = elan(captions, "file:///somewhere/a%20video.mp4")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "any.eaf"
        file.write_text(text, encoding="utf-8")
        found = read_database(file).get("a video", {"annotations": []})["annotations"]
    told = sorted((row["label"], *row["segment"]) for row in found)
    assert told == sorted((c.text, c.start_s, c.end_s) for c in captions)
