"""Annotation files of other tools, as those tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.media.labelled import is_foreign, read_database

ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
 <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///home/me/My%20dance.mp4" MIME_TYPE="video/mp4"/></HEADER>
 <TIME_ORDER>
  <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
  <TIME_SLOT TIME_SLOT_ID="ts3"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4000"/></TIME_ORDER>
 <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="action">
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
   <ANNOTATION_VALUE>step</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
   <ANNOTATION_VALUE> turn </ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
 <TIER LINGUISTIC_TYPE_REF="ref" PARENT_REF="action" TIER_ID="foot">
  <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
   <ANNOTATION_VALUE>left foot</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>
"""
BORIS = {
    "behaviors_conf": {
        "0": {"code": "walk", "type": "State event"},
        "1": {"code": "blink", "type": "Point event"},
    },
    "observations": {
        "first": {
            "file": {"1": ["C:\\videos\\cat.avi"]},
            "events": [[2.5, "", "walk", "", ""], [0.5, "", "walk", "", ""], [1.0, "", "blink", "", "", 30]],
        }
    },
}
TABULAR = (
    "Observation id,first\n\n"
    "Time,Media file path,Subject,Behavior,Behavior type\n"
    "0.5,/v/cat.avi,tom,walk,START\n1,/v/cat.avi,tom,blink,POINT\n2.5,/v/cat.avi,tom,walk,STOP\n"
)
AGGREGATED = (
    "Observation id\tMedia file\tBehavior\tBehavior type\tStart (s)\tStop (s)\n"
    "first\t/v/cat.avi\twalk\tSTATE\t0.5\t2.5\nfirst\t/v/cat.avi\tblink\tPOINT\t1\t1\n"
)
VIA = {
    "project": {"pid": "x"},
    "config": {},
    "attribute": {"1": {"aname": "action", "options": {"0": "walk", "1": "blink"}}},
    "file": {"1": {"fid": "1", "fname": "cat.avi", "src": ""}},
    "view": {"1": {"fid_list": ["1"]}},
    "metadata": {
        "1_a": {"vid": "1", "z": [0.5, 2.5], "xy": [], "av": {"1": "0"}},
        "1_b": {"vid": "1", "z": [1, 1], "xy": [], "av": {"1": "1"}},
        "1_c": {"vid": "1", "z": [], "xy": [2, 1, 1, 5, 5], "av": {}},
    },
}
CAT = {"subset": "training", "annotations": [("walk", [0.5, 2.5]), ("blink", [1.0, 1.0])]}


def rows(entry: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [(row["label"], row["segment"]) for row in entry["annotations"]]


def test_elan(tmp_path: Path) -> None:
    (tmp_path / "any.eaf").write_text(ELAN)
    found = read_database(tmp_path / "any.eaf")
    assert list(found) == ["My dance"]
    assert rows(found["My dance"]) == [
        ("step", [1.0, 2.0]),  # slots without a time share what lies between their neighbours
        ("turn", [3.0, 4.0]),
        ("left foot", [1.0, 2.0]),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.boris", json.dumps(BORIS)),
        ("t.csv", TABULAR),
        ("a.tsv", AGGREGATED),
        ("via.json", json.dumps(VIA)),
    ],
)
def test_every_tool_tells_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = read_database(tmp_path / name)
    assert list(found) == ["cat"]
    assert sorted(rows(found["cat"])) == sorted(CAT["annotations"])
    assert is_foreign(tmp_path / name)


def test_activitynet_is_read_as_it_is(tmp_path: Path) -> None:
    entry = {"subset": "validation", "duration": 9.0, "annotations": [{"label": "a", "segment": [1, 2]}]}
    (tmp_path / "anet.json").write_text(json.dumps({"database": {"v": entry}}))
    assert read_database(tmp_path / "anet.json") == {"v": entry}
    assert not is_foreign(tmp_path / "anet.json")


def test_a_folder_gives_subsets_by_its_folders(tmp_path: Path) -> None:
    for subset, video in (("training", "one"), ("Validation", "two")):
        (tmp_path / subset).mkdir()
        (tmp_path / subset / f"{video}.eaf").write_text(ELAN.replace("My%20dance", video))
    found = read_database(tmp_path)
    assert {video: entry["subset"] for video, entry in found.items()} == {
        "one": "training",
        "two": "validation",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.eaf", "<ANNOTATION_DOCUMENT>", "damaged"),
        ("a.eaf", "<html></html>", "no ELAN document"),
        ("a.eaf", ELAN.replace('TIME_SLOT_REF1="ts1"', 'TIME_SLOT_REF1="ts9"'), "damaged"),
        (
            "a.boris",
            json.dumps({**BORIS, "observations": {"x": {"events": [[1, "", "walk", "", ""]]}}}),
            "no end",
        ),
        ("a.csv", "a,b\n1,2\n", "no table of BORIS"),
        ("a.json", "{", "no JSON"),
        ("a.json", json.dumps({**VIA, "view": {}}), "damaged"),
        ("a.txt", "", "not known"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(KinoscopeError, match=message):
        read_database(tmp_path / name)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="no annotation files"):
        read_database(tmp_path)
