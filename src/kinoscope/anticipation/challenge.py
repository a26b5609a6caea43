"""Submission files of the EPIC-Kitchens anticipation challenges: written, and checked against their rules.

EPIC-Kitchens-100: `test.json` flat in `submit.zip`, keyed by narration id, with supervision levels. EPIC-Kitchens-55:
`seen.json` and `unseen.json`, the two test sets.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_bytes, write_text
from kinoscope.errors import KinoscopeError

ACTIONS = 100  # best actions of a segment that a file may hold
LEVELS = ("sls_pt", "sls_tl", "sls_td")
FILES = {"epic100": ("test.json",), "epic55": ("seen.json", "unseen.json")}


def faults(file: Mapping[str, Any], uids: Sequence[str], sizes: tuple[int, int]) -> list[str]:
    """Sentences about whatever the challenge would refuse. sizes: numbers of verbs and nouns."""
    found = []
    if file.get("challenge") not in ("action_anticipation", "action_recognition"):
        found.append(f"challenge is {file.get('challenge')!r}, not action_anticipation")
    if file.get("version") not in ("0.1", "0.2"):
        found.append(f"version is {file.get('version')!r}, not '0.1' or '0.2'")
    if file.get("version") == "0.2":
        found += [
            f"{name} is {file.get(name)!r}, not a level from 0 to 5"
            for name in LEVELS
            if not (isinstance(file.get(name), int) and 0 <= file[name] <= 5)
        ]
    results = file.get("results")
    if not isinstance(results, Mapping):
        return [*found, "there are no results"]
    missing = [uid for uid in uids if uid not in results]
    if missing:
        found.append(f"{len(missing)} segments are missing, {missing[0]} first")
    strange = [uid for uid in results if uid not in set(uids)]
    if strange:
        found.append(f"{len(strange)} segments are none of the test set, {strange[0]} first")
    for uid, scores in results.items():
        fault = _segment_fault(scores, sizes)
        if fault is not None:
            found.append(f"{uid}: {fault}")
            if len(found) > 20:
                break
    return found


def _segment_fault(scores: Mapping[str, Any], sizes: tuple[int, int]) -> str | None:
    for space, size in zip(("verb", "noun"), sizes, strict=True):
        if set(scores.get(space, ())) != {str(k) for k in range(size)}:
            return f"{space} scores are not those of classes 0 to {size - 1}"
    actions = scores.get("action", {})
    if len(actions) != ACTIONS and len(actions) != min(ACTIONS, sizes[0] * sizes[1]):
        return f"{len(actions)} actions, not {ACTIONS}"
    for key in actions:
        verb, _, noun = key.partition(",")
        if not (verb.isdigit() and noun.isdigit()):
            return f"action {key!r} is not 'verb,noun'"
    values = [value for space in ("verb", "noun", "action") for value in scores[space].values()]
    if not all(isinstance(value, float | int) and math.isfinite(value) for value in values):
        return "a score is no finite number"
    return None


def write_submission(
    folder: Path,
    dataset: str,
    file: Mapping[str, Any],
    uids: Sequence[str],
    sizes: tuple[int, int],
    name: str | None = None,
) -> Path:
    """Writes the file of a challenge (EK100: with its zip); raises KinoscopeError, which lists the faults, for one that
    would be refused. name: `seen.json` or `unseen.json` for EPIC-Kitchens-55."""
    if dataset not in FILES:
        raise KinoscopeError(
            "no challenge takes submissions of this data set", field="data.dataset", value=dataset
        )
    if wrong := faults(file, uids, sizes):
        raise KinoscopeError("the challenge would refuse this file", value=wrong)
    name = name or FILES[dataset][0]
    text = json.dumps(file)
    write_text(folder / name, text)
    if dataset != "epic100":
        return folder / name
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    write_bytes(folder / "submit.zip", held.getvalue())
    return folder / "submit.zip"
