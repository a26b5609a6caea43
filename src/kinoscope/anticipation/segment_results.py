"""What a run on annotated segments leaves behind: stored scores, figures, embeddings, submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.anticipation.challenge import FILES, write_submission
from kinoscope.anticipation.evaluate import ScoreTable, challenge, softmax
from kinoscope.anticipation.judge import SHOWN, plain
from kinoscope.anticipation.language import visual_prototypes
from kinoscope.anticipation.scores import Scores, figures
from kinoscope.anticipation.segments import SegmentSource, many_shot_of, subsets_of
from kinoscope.anticipation.settings import AnticipationSettings, SegmentsData
from kinoscope.engine.files import write_json
from kinoscope.errors import KinoscopeError
from kinoscope.timeline import Events

AT_ONCE = 64  # windows of features in one pass; of frames: one


def scores_of(
    model: nn.Module, source: SegmentSource, loader: Any, device: torch.device, skipped: dict[str, str]
) -> tuple[Scores, dict[int, list[list[float]]]]:
    """Scores of all test segments, and the first vectors of each class where the recipe stores them.

    A segment that cannot be read is left out, named in `skipped`, and counted with those that cannot be observed.
    """
    windows = source.test
    assert windows is not None
    segments, data = windows.segments, source.data
    rows: list[int] = []
    logits: list[np.ndarray] = []
    embeddings: dict[int, list[list[float]]] = {k: [] for k in range(len(source.label_names))}
    waiting: list[tuple[int, Tensor]] = []

    def run() -> None:
        if not waiting:
            return
        with torch.inference_mode():
            out = model(torch.stack([video for _, video in waiting]).to(device), with_past=False)
        logits.append(out["logits/action"].float().cpu().numpy())
        for (row, _), vector in zip(waiting, out["future"].float().cpu().tolist(), strict=True):
            held = embeddings.get(int(segments.action[row]))
            if held is not None and len(held) < data.store_embeddings:
                held.append(vector)
        rows.extend(row for row, _ in waiting)
        waiting.clear()

    for row in range(len(segments)):
        try:
            waiting.append((row, loader.evaluation(source.sample(windows, row).seen)))
        except KinoscopeError as error:
            skipped[str(segments.uid[row])] = str(error)
            continue
        if len(waiting) == (1 if loader.pixels else AT_ONCE):
            run()
    run()
    if not rows:
        raise KinoscopeError("not one test segment can be read", value=next(iter(skipped.values()), None))
    names = segments.narration_id if any(segments.narration_id) else tuple(str(uid) for uid in segments.uid)
    gone = windows.discarded
    gone_names = gone.narration_id if any(gone.narration_id) else tuple(str(uid) for uid in gone.uid)
    lost = dict(zip(gone_names, gone.action.tolist(), strict=True))
    lost |= {names[row]: int(segments.action[row]) for row in sorted(set(range(len(segments))) - set(rows))}
    place = {row: k for k, row in enumerate(rows)}
    subsets = {
        part: {
            space: np.array([place[r] for r in at if r in place], np.int64) for space, at in spaces.items()
        }
        for part, spaces in subsets_of(data, windows).items()
    }
    many = many_shot_of(data, source.actions)
    return (
        Scores(
            tuple(names[row] for row in rows),
            np.concatenate(logits),
            {"verb": segments.verb[rows], "noun": segments.noun[rows], "action": segments.action[rows]},
            source.label_names,
            np.array(source.actions.pairs),
            (source.actions.verbs, source.actions.nouns),
            lost,
            subsets,
            None if many is None else {space: np.array(ids) for space, ids in many.items()},
        ),
        embeddings,
    )


def finish(
    scores: Scores,
    embeddings: dict[int, list[list[float]]],
    source: SegmentSource,
    visual: Tensor,
    recipe: AnticipationSettings,
    folder: Path,
    skipped: dict[str, str],
) -> dict[str, Any]:
    """Writes everything that a run leaves behind; its figures."""
    data = source.data
    scores.save(folder)
    result = figures(scores)
    result["numerics"] = "official" if recipe.model.reference_quirks else "corrected"
    if data.store_embeddings:
        result["visual_prototypes"] = str(write_visual(folder, data, embeddings, visual))
    if data.dataset in FILES and (scores.labels["action"] < 0).all():
        result["submission"] = str(submission(folder, data, scores, scores.table()))
    result["skipped"] = [{"video": name, "why": why} for name, why in sorted(skipped.items())]
    write_json(folder / "predictions.json", events_of(scores, source).to_json())
    write_json(folder / "evaluation.json", plain(result))
    return result


def write_visual(
    folder: Path, data: SegmentsData, embeddings: dict[int, list[list[float]]], start: Tensor
) -> Path:
    """The stored vectors and their means a class, in the official formats. A class without any keeps the vector that
    the network started from (its language vector), brought to the same width and to the mean length of the others."""
    from kinoscope.anticipation.models.anticipator import resize_prototypes

    width = next((len(vectors[0]) for vectors in embeddings.values() if vectors), None)
    if width is None:
        raise KinoscopeError("no test segment has a known class: there are no embeddings", field="data.test")
    torch.save(embeddings, folder / "embeddings.pth")
    fallback = torch.nn.functional.normalize(resize_prototypes(start.float().cpu(), width), dim=1)
    means = visual_prototypes(embeddings, fallback)
    have = torch.tensor([bool(embeddings[k]) for k in range(len(means))])
    means[~have] *= means[have].norm(dim=1).mean()
    path = folder / f"visual_encodings_{data.dataset}.pth"
    torch.save({k: row.clone() for k, row in enumerate(means)}, path)
    return path


def submission(folder: Path, data: SegmentsData, scores: Scores, table: ScoreTable) -> Path:
    """The challenge file of a test set; action scores as probabilities."""
    pairs = [(int(v), int(n)) for v, n in scores.pairs]
    file = challenge(
        ScoreTable(table.verb, table.noun, softmax(table.action)),
        scores.uid,
        pairs,
        data.version,
        list(scores.lost),
        data.sls if data.dataset == "epic100" else None,
        "action_recognition" if data.tau_a < 0 else "action_anticipation",
    )
    return write_submission(folder, data.dataset, file, [*scores.uid, *scores.lost], scores.sizes)


def events_of(scores: Scores, source: SegmentSource) -> Events:
    """The likeliest actions of every segment over its time."""
    assert source.test is not None
    segments = source.test.segments
    ids = segments.narration_id if any(segments.narration_id) else tuple(str(uid) for uid in segments.uid)
    place = {name: row for row, name in enumerate(ids)}
    parts = [Events.empty(scores.names)]
    best = np.argsort(-scores.action, axis=1, kind="stable")[:, :SHOWN]
    p_nA = softmax(scores.action)
    for k, uid in enumerate(scores.uid):
        row = place[uid]
        span = [[float(segments.start[row]), max(float(segments.end[row]), float(segments.start[row]))]]
        parts.append(
            Events.of(segments.video[row], span * best.shape[1], best[k], p_nA[k, best[k]], scores.names)
        )
    return Events.concat(parts)
