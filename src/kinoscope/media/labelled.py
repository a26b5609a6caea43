"""What people labelled with the tools they know, as one table: ActivityNet JSON, ELAN, BORIS and VIA files.

`read_database(path)` takes a file or a folder of them and gives {video: {"subset", "annotations": [{"label",
"segment": [start_s, end_s]}]}}, the form that training reads. A video is named by the stem of its media file. The
subset is the file's own where it has one, else the name of the folder that the file lies in, where that is one of
`SUBSETS`, else "training".

| tool | file | what is read |
|---|---|---|
| ActivityNet | .json | `database`, as it is |
| ELAN | .eaf | annotations of every tier that lie on the time line, and those that refer to them |
| BORIS | .boris | state events as pairs of start and stop, point events; the media file of each observation |
| BORIS | .csv, .tsv | exported events, tabular (`Behavior type`) or aggregated (`Start (s)`, `Stop (s)`) |
| VIA 3 | .json | temporal segments; the label is the value of the first attribute that has one |
"""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlparse

from kinoscope.errors import KinoscopeError

SUBSETS = ("training", "validation", "test", "testing")
Database = dict[str, dict[str, Any]]
Row = tuple[str, float, float, str]  # video, start_s, end_s, label


def read_database(path: str | Path) -> Database:
    """The videos of an annotation file, or of all such files below a folder. Raises KinoscopeError."""
    path = Path(path)
    if not path.exists():
        raise KinoscopeError("there is no such annotation file", file=path)
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in READERS) if path.is_dir() else [path]
    if not files:
        raise KinoscopeError(
            "there are no annotation files in this folder", file=path, remedy=" ".join(READERS)
        )
    whole: Database = {}
    for file in files:
        for video, entry in _one(file).items():
            mine = whole.setdefault(video, {**entry, "annotations": []})
            if mine.get("subset") != entry.get("subset"):
                raise KinoscopeError(
                    "this video is annotated in two subsets",
                    file=file,
                    field=video,
                    value=entry.get("subset"),
                )
            mine["annotations"] = [*mine["annotations"], *(entry.get("annotations") or [])]
    return whole


def is_foreign(path: Path) -> bool:
    """Whether the file (or folder) needs one of these readers, not that of ActivityNet's form alone."""
    if path.is_dir() or path.suffix.lower() in (".eaf", ".boris", ".csv", ".tsv"):
        return True
    if path.suffix.lower() != ".json" or not path.is_file() or b'"fid_list"' not in path.read_bytes():
        return False
    return _is_via(_json(path))


def _one(file: Path) -> Database:
    if file.suffix.lower() not in READERS:
        raise KinoscopeError("this kind of annotation file is not known", file=file, remedy=" ".join(READERS))
    subset = file.parent.name.lower() if file.parent.name.lower() in SUBSETS else "training"
    read = READERS[file.suffix.lower()]
    try:
        got = read(file)
        if isinstance(got, dict):
            return {video: {"subset": subset, **entry} for video, entry in got.items()}
        entries: Database = {}
        for video, start_s, end_s, label in got:
            rows = entries.setdefault(video, {"subset": subset, "annotations": []})["annotations"]
            rows.append({"label": label, "segment": [start_s, end_s]})
    except KinoscopeError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, ET.ParseError, OSError) as error:
        raise KinoscopeError(
            "this annotation file is damaged or of another version",
            file=file,
            value=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}",
        ) from error
    return entries


def _stem(media: str) -> str:
    """The name of a video without folders and ending; media: a path of any system, or a URL.

    >>> _stem("file:///C:/My%20videos/walk.mp4"), _stem("C:\\\\data\\\\run.avi"), _stem("a/jump.mkv")
    ('walk', 'run', 'jump')
    """
    place = unquote(urlparse(media).path) if "://" in media else media
    return PureWindowsPath(place).stem


# -- ELAN ---------------------------------------------------------------------------------------------------


def _elan(file: Path) -> Iterator[Row]:
    root = ET.parse(file).getroot()
    if root.tag != "ANNOTATION_DOCUMENT":
        raise KinoscopeError("this is no ELAN document", file=file, value=root.tag)
    media = [m.get("MEDIA_URL") or m.get("RELATIVE_MEDIA_URL") or "" for m in root.iter("MEDIA_DESCRIPTOR")]
    video = _stem(media[0]) if media and media[0] else file.stem
    times = _slots(root)
    spans = {
        a.attrib["ANNOTATION_ID"]: (times[a.attrib["TIME_SLOT_REF1"]], times[a.attrib["TIME_SLOT_REF2"]])
        for a in root.iter("ALIGNABLE_ANNOTATION")
    }
    refers = {a.attrib["ANNOTATION_ID"]: a.attrib["ANNOTATION_REF"] for a in root.iter("REF_ANNOTATION")}
    for annotation in root.iter():
        if annotation.tag not in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
            continue
        name = annotation.attrib["ANNOTATION_ID"]
        for _ in range(len(refers)):  # an annotation may refer to one that refers
            name = refers.get(name, name)
        label = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
        if label and name in spans:
            yield video, *spans[name], label


def _slots(root: ET.Element) -> dict[str, float]:
    """Seconds of the time slots; those without a time lie evenly between their neighbours."""
    slots = [(slot.attrib["TIME_SLOT_ID"], slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    values = [None if value is None else int(value) / 1000 for _, value in slots]
    known = [place for place, value in enumerate(values) if value is not None]
    times = {}
    for place, (name, _) in enumerate(slots):
        before = max((k for k in known if k <= place), default=known[0])
        after = min((k for k in known if k >= place), default=known[-1])
        low, high = values[before], values[after]
        assert low is not None
        assert high is not None
        share = (place - before) / (after - before) if after != before else 0.0
        times[name] = low + share * (high - low)
    return times


# -- BORIS --------------------------------------------------------------------------------------------------


def _boris(file: Path) -> Iterator[Row]:
    project = _json(file)
    kinds = {b["code"]: str(b["type"]).lower() for b in project["behaviors_conf"].values()}
    for name, observation in project["observations"].items():
        media = [one for player in observation.get("file", {}).values() for one in player]
        video = _stem(str(media[0])) if media else name
        rows = [(float(e[0]), str(e[1]), str(e[2])) for e in observation["events"]]
        yield from _paired(file, video, rows, lambda code: "point" in kinds.get(code, "state"))


def _paired(
    file: Path, video: str, events: list[tuple[float, str, str]], is_point: Callable[[str], bool]
) -> Iterator[Row]:
    """Events (time_s, subject, behaviour) of one video: a state starts and stops by turns for each subject."""
    begun: dict[tuple[str, str], float] = {}
    for time, subject, code in sorted(events, key=lambda event: event[0]):
        if is_point(code):
            yield video, time, time, code
        elif (subject, code) in begun:
            yield video, begun.pop((subject, code)), time, code
        else:
            begun[subject, code] = time
    if begun:
        (_, code), time = next(iter(begun.items()))
        raise KinoscopeError(
            f"the state {code} of {video} has no end",
            file=file,
            field="events",
            value=time,
            remedy="mend it in BORIS",
        )


def _boris_table(file: Path) -> Iterator[Row]:
    text = file.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    first = next(
        (k for k, line in enumerate(lines) if "Behavior" in line and ("Start" in line or "Time" in line)),
        None,
    )
    if first is None:
        raise KinoscopeError(
            "this is no table of BORIS events",
            file=file,
            remedy="export aggregated or tabular events from BORIS",
        )
    rows = list(csv.DictReader(lines[first:], delimiter="\t" if "\t" in lines[first] else ","))
    events: dict[str, list[tuple[float, str, str]]] = {}
    points = set()
    for row in rows:
        media = next((row[k] for k in ("Media file name", "Media file path", "Media file") if row.get(k)), "")
        video = _stem(media) if media else str(row.get("Observation id") or file.stem)
        code = row["Behavior"]
        if "Start (s)" in row:
            yield video, float(row["Start (s)"]), float(row["Stop (s)"] or row["Start (s)"]), code
            continue
        kind = str(row.get("Behavior type") or row.get("Status") or "").upper()
        if kind == "POINT":
            points.add(code)
        events.setdefault(video, []).append((float(row["Time"]), row.get("Subject") or "", code))
    for video, mine in events.items():
        yield from _paired(file, video, mine, points.__contains__)


# -- VIA and ActivityNet ----------------------------------------------------------------------------------------


def _json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise KinoscopeError("this file is no JSON", file=file, value=str(error)[:120]) from error
    if not isinstance(data, dict):
        raise KinoscopeError("this file is no JSON object", file=file)
    return data


def _is_via(data: dict[str, Any]) -> bool:
    return {"metadata", "view", "attribute", "file"} <= set(data)


def _json_of_any_tool(file: Path) -> Iterator[Row] | Database:
    data = _json(file)
    if _is_via(data):
        return _via(data)
    database = data.get("database", data)
    if not isinstance(database, dict) or not all(isinstance(entry, dict) for entry in database.values()):
        raise KinoscopeError("this is no annotation file", file=file, field="database")
    return database


def _via(data: dict[str, Any]) -> Iterator[Row]:
    for entry in data["metadata"].values():
        moments = [float(z) for z in entry.get("z") or ()]
        if not moments:
            continue  # a region of a picture
        view = data["view"][str(entry["vid"])]
        video = _stem(str(data["file"][str(view["fid_list"][0])]["fname"]))
        label = next(
            (_via_value(data, str(k), v) for k, v in entry["av"].items() if str(v) not in ("", "_DEFAULT")),
            "",
        )
        if label:
            yield video, moments[0], moments[-1], label


def _via_value(data: dict[str, Any], attribute: str, value: Any) -> str:
    """The text of an attribute: a choice is kept by its number."""
    options = data["attribute"].get(attribute, {}).get("options") or {}
    return str(options.get(str(value), value)).strip()


READERS: dict[str, Callable[[Path], Iterator[Row] | Database]] = {
    ".json": _json_of_any_tool,
    ".eaf": _elan,
    ".boris": _boris,
    ".csv": _boris_table,
    ".tsv": _boris_table,
}
