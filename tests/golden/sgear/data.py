"""Runners of the annotation, sampling, feature-store, transform and prototype cases."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch

from golden.kit import Case, Outputs, Runner
from golden.sgear.setup import arrays, checked
from kinoscope.anticipation import annotations as notes
from kinoscope.anticipation.augment import PixelSettings, eval_transform, train_transform
from kinoscope.anticipation.evaluate import membership
from kinoscope.anticipation.features import FeatureStore
from kinoscope.anticipation.language import prototypes, sentences
from kinoscope.anticipation.sampling import FrameSampling, balanced_index, frame_times, frames_inside

ID_TYPES = {"str": str, "object": str, "int": int, "int64": int, "float": float, "float64": float}


def text(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def frame_sampling(case: Case) -> Outputs:
    out: Outputs = {}
    for i, request in enumerate(checked(case.hyperparameters, {"requests"})["requests"]):
        given = dict(request)
        start, end, fps, total = (given.pop(key) for key in ("start", "end", "fps", "total_frames"))
        generator = np.random.default_rng(given.pop("seed", 42))
        sampling = FrameSampling(**given)
        window = sampling.window(start, end, fps, generator)
        frames = frames_inside(*window, fps, total)
        out[f"{i}/window"] = np.array(window)
        if len(frames):
            kept = sampling.kept(len(frames), fps)
            found = frames[kept], frame_times(*window, len(frames))[kept], kept
        else:
            blank = np.zeros(sampling.num_frames)
            found = blank, blank - 1, np.zeros(0, np.int64)
        out |= {
            f"{i}/{name}": value for name, value in zip(("frames", "seconds", "kept"), found, strict=True)
        }
    return out


def lmdb_features(case: Case) -> Outputs:
    given = checked(case.hyperparameters, {"video", "stores", "requests"})
    out: Outputs = {}
    with tempfile.TemporaryDirectory() as root:
        folders = []
        for name, store in given["stores"].items():
            folders.append(Path(root) / name)
            with (
                lmdb.open(str(folders[-1]), map_size=1 << 26) as environment,
                environment.begin(write=True) as put,
            ):
                for frame, vector in zip(store["frames"], case.inputs[f"features_{name}"], strict=True):
                    put.put(
                        f"{given['video']}_frame_{frame:010d}.jpg".encode(), vector.astype("<f4").tobytes()
                    )
        reader = FeatureStore(folders)
        for i, request in enumerate(given["requests"]):
            asked = dict(request)
            start, end, how = asked.pop("start"), asked.pop("end"), asked.pop("read_type", "normal")
            found = reader.window(given["video"], start, end, FrameSampling(**asked), how)
            width = found.features.shape[1]
            out |= {
                f"{i}/features": found.features[:, None, None],
                f"{i}/seconds": found.seconds,
                f"{i}/kept": found.kept,
                f"{i}/read_frames": np.array([found.frames_read, 1, 1, width]),
            }
        reader.close()
    return out


def class_balanced_index(case: Case) -> Outputs:
    counts = {int(k): n for k, n in checked(case.hyperparameters, {"counts"})["counts"].items()}
    generator = np.random.default_rng(42)
    return {"indices": np.array([balanced_index(counts, i, generator) for i in range(sum(counts.values()))])}


def train(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    python, torch_rng = random.Random(given.pop("python_seed")), torch.Generator()
    torch_rng.manual_seed(given.pop("torch_seed"))
    clip = torch.from_numpy(case.inputs["clip"]).to(torch.uint8)
    steps = train_transform(clip, PixelSettings(**given), python, torch_rng)
    out = {"after_flip": steps["flipped"], "after_jitter": steps["jittered"], "cropped": steps["cropped"]}
    return arrays(out) | {"resized_shape": np.array(steps["resized"].shape)}


def evaluation(case: Case) -> Outputs:
    clip = torch.from_numpy(case.inputs["clip"]).to(torch.uint8)
    crops, resized = eval_transform(clip, PixelSettings(**case.hyperparameters))
    return {"crops": crops.numpy(), "resized_shape": np.array(resized.shape)}


def language_prototypes(case: Case) -> Outputs:
    given = checked(case.hyperparameters, {"dataset", "label_file"})
    found = sentences(case.folder / given["label_file"], given["dataset"])
    encodings, alike = prototypes(found, lambda _: case.inputs["encodings"])
    return {
        "texts_json": text([list(pair) for pair in found]),
        "keys": np.array(list(encodings)),
        "encodings": torch.stack(list(encodings.values())).numpy(),
        "similarities": torch.stack(list(alike.values())).numpy(),
    }


ANNOTATIONS = {
    "version",
    "annotation_files",
    "id_column",
    "id_dtype",
    "actions_file",
    "num_actions",
    "tau_a",
    "tau_o",
    "label_type",
    "segment_query",
    "drop_style",
    "only_keep_videos",
    "only_keep_persons",
}


def epic_annotations(case: Case) -> Outputs:
    given = checked(case.hyperparameters, ANNOTATIONS)
    named = notes.class_names(case.folder)
    sizes = (len(named[0]), len(named[1])) if named else (None, None)
    if given.get("actions_file"):
        actions = notes.read_actions(case.folder / given["actions_file"], *sizes)
    else:
        actions = notes.all_pairs(*sizes)
    id_type = ID_TYPES[given.get("id_dtype") or "str"]
    segments = notes.read_segments([case.folder / f for f in given["annotation_files"]], actions, id_type)
    if given.get("only_keep_videos"):
        segments = notes.keep_videos(segments, case.folder / given["only_keep_videos"])
    if given.get("only_keep_persons"):
        segments = notes.keep_persons(segments, given["only_keep_persons"])
    windows = notes.anticipation_windows(
        segments, given["tau_a"], given["tau_o"], given.get("drop_style") or "correct"
    )
    kept = windows.segments
    kinds = [given["label_type"]] if isinstance(given["label_type"], str) else given["label_type"]
    spaces = {"verb": actions.verbs, "noun": actions.nouns, "action": len(actions.pairs)}
    shots = notes.many_shot_classes(case.folder, actions) or {k: list(range(spaces[k])) for k in kinds}
    query = given["segment_query"]
    at = notes.PastLabels(kept)
    paths = [f"{notes.participant(v)}/{v}.MP4" if given["version"] > 0 else f"{v}.mp4" for v in kept.video]
    out = {
        "start": windows.start,
        "end": windows.end,
        "orig_start": kept.start,
        "orig_end": kept.end,
        "future_0_start": windows.future_start,
        "future_0_end": windows.future_end,
        "verb_class": kept.verb,
        "noun_class": kept.noun,
        "action_class": kept.action,
        "uid_json": text([str(u) for u in kept.uid]),
        "discarded_uid_json": text([str(u) for u in windows.discarded.uid]),
        "video_path_json": text(paths),
        "mapping/verb_action": membership([v for v, _ in actions.pairs], actions.verbs),
        "mapping/noun_action": membership([n for _, n in actions.pairs], actions.nouns),
        "primary_metric_json": text(f"final_acc/action/{'AR5' if given['version'] == 0.2 else 'top1'}"),
    }
    out |= {f"manyshot/{space}": np.array(ids) for space, ids in shots.items()}
    for kind in kinds:
        times = np.array(query["seconds"])
        out[f"segment/{kind}"] = at(kept.video[query["row"]], times, kind)[:, None]
    return out


def salads_annotations(case: Case) -> Outputs:
    known = {"fps", "tau_a", "tau_o", "mapping_file", "bundle_file", "drop_style"}
    given = checked(case.hyperparameters, known)
    classes = notes.read_mapping(case.folder / given["mapping_file"])
    segments = notes.read_salads(case.folder / given["bundle_file"], case.folder, classes, given["fps"])
    windows = notes.anticipation_windows(
        segments, given["tau_a"], given["tau_o"], given.get("drop_style") or "correct"
    )
    return {
        "start": segments.start.astype(np.float64),
        "end": segments.end.astype(np.float64),
        "action_class": segments.action,
        "video_json": text(list(segments.video)),
        "classes_json": text(classes),
        "anticipation_start": windows.start.astype(np.float64),
        "anticipation_end": windows.end.astype(np.float64),
        "kept_uid": np.array(windows.segments.uid),
        "discarded_uid": np.array(windows.discarded.uid),
    }


RUNNERS: dict[str, Runner] = {
    "sgear.frame_sampling": frame_sampling,
    "sgear.lmdb_features": lmdb_features,
    "sgear.class_balanced_index": class_balanced_index,
    "sgear.train_transform": train,
    "sgear.eval_transform": evaluation,
    "sgear.language_prototypes": language_prototypes,
    "sgear.epic_annotations": epic_annotations,
    "sgear.salads_annotations": salads_annotations,
}
