"""Evaluation tasks, probes, alignment, chunks, schedules and sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from golden.carl.models import known
from golden.kit import Case, Outputs
from kinoscope.metrics.dtw import dtw, first_matches
from kinoscope.representation import evaluate, official
from kinoscope.representation.alignment import align, displayed
from kinoscope.representation.inference import embed_frames
from kinoscope.representation.optimization import epoch_rates
from kinoscope.representation.probes import SoftmaxRegression
from kinoscope.representation.sampling import class_batches


def videos(case: Case, kind: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{kind}_") for name in case.inputs)
    return [case.inputs[f"{kind}_{k}"] for k in range(count)]


def tasks(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "dataset", "variants")
    data = settings["dataset"]
    embs = {split: videos(case, f"{split}_embs") for split in ("train", "val")}
    labels = {split: videos(case, f"{split}_labels") for split in ("train", "val")}
    out: Outputs = {}
    for variant in settings["variants"]:
        known(
            variant,
            *("name", "task", "CLASSIFICATION_FRACTIONS", "KENDALLS_TAU_STRIDE", "KENDALLS_TAU_DISTANCE"),
            *("RETRIEVAL_KS", "L2_NORMALIZE"),
        )
        found = official.run_task(variant["task"], data, embs, labels, variant)
        out |= {f"{variant['name']}/{name}": np.asarray(value) for name, value in found.items()}
    return out


def logreg(case: Case) -> Outputs:
    known(case.hyperparameters)
    x, y = (np.concatenate(videos(case, f"train_{kind}")) for kind in ("embs", "labels"))
    probe = SoftmaxRegression.fit(x, y, tolerance=1e-10)
    binary = len(probe.classes) == 2
    return {
        "coef": probe.weights[1:] if binary else probe.weights,
        "intercept": probe.bias[1:] if binary else probe.bias,
        "proba_first10": probe.probabilities(x[:10]),
        "predictions": probe.predict(x),
    }


def alignment(case: Case) -> Outputs:
    known(case.hyperparameters, "pairs")
    out: Outputs = {}
    for pair in case.hyperparameters["pairs"]:
        query, key = case.inputs[f"{pair}_query"], case.inputs[f"{pair}_key"]
        total, table, path = dtw(evaluate.squared_distances(query, key))
        out |= {
            f"{pair}/nn": align(query, key, warp=False),
            f"{pair}/dtw": align(query, key, warp=True),
            f"{pair}/dtw_distance": np.asarray(total),
            f"{pair}/accumulated_cost": table,
            f"{pair}/path": path,
        }
        assert (first_matches(path) == out[f"{pair}/dtw"]).all()
    if "frame" in case.inputs:
        out["frame_unnorm"] = displayed(case.inputs["frame"])
    return out


def embed_chunks(case: Case) -> Outputs:
    known(case.hyperparameters, "variants")
    out: Outputs = {}
    for variant in case.hyperparameters["variants"]:
        known(
            variant, "name", "seq_len", "FRAMES_PER_BATCH", "NUM_CONTEXTS", "CONTEXT_STRIDE", "labels", "seed"
        )
        calls: list[tuple[int, int]] = []

        def embed(frames: np.ndarray, steps: int, calls: list = calls) -> np.ndarray:
            calls.append((len(frames), steps))
            return frames.reshape(steps, -1).astype(np.float32)

        embs = embed_frames(
            embed,
            variant["seq_len"],
            variant["FRAMES_PER_BATCH"],
            variant["NUM_CONTEXTS"],
            variant["CONTEXT_STRIDE"],
        )
        labels = np.array(variant.get("labels", [0] * variant["seq_len"]))
        embs, labels = evaluate.labelled(embs, labels)
        name = variant["name"]
        out |= {f"{name}/calls": np.array(calls), f"{name}/embs": embs, f"{name}/labels": labels}
    return out


def schedules(case: Case) -> Outputs:
    known(case.hyperparameters, "variants")
    out: Outputs = {}
    for variant in case.hyperparameters["variants"]:
        known(
            variant,
            *("name", "MAX_EPOCHS", "INITIAL_LR", "DECAY_TYPE", "WARMUP_LR", "NUM_WARMUP_STEPS", "FINAL_LR"),
        )
        out[variant["name"]] = epoch_rates(
            variant["DECAY_TYPE"],
            variant["MAX_EPOCHS"],
            variant["INITIAL_LR"],
            variant.get("WARMUP_LR", 1e-4),
            variant.get("NUM_WARMUP_STEPS", 1),
            variant.get("FINAL_LR", 0.0),
        )
    return out


class Replay:
    """The draws that the official code made, in its order."""

    def __init__(self, draws: list[dict[str, Any]]) -> None:
        self.draws = iter(draws)

    def _next(self, *ops: str) -> dict[str, Any]:
        draw = next(self.draws)
        assert draw["op"] in ops, draw
        return draw

    def uniform(self, low: float, high: float) -> float:
        draw = self._next("uniform")
        assert (low, high) == (draw["low"], draw["high"])
        return float(draw["value"])

    def integers(self, low: int, high: int, size: Any = None) -> Any:
        draw = self._next("randint", "torch_randint")
        assert (low, high) == (draw["low"], draw["high"]), (low, high, draw)
        return np.array(draw["value"]) if size is not None else draw["value"]

    def permutation(self, x: int) -> np.ndarray:
        draw = self._next("randperm")
        assert x == draw["n"]
        return np.array(draw["value"])


def sampling(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "variants", "draws")
    out: Outputs = {}
    for variant in settings["variants"]:
        sampler = official.build_sampler(
            {k: v for k, v in variant.items() if k not in ("name", "seq_len", "seed", "views")}
        )
        before = None
        for view in range(variant["views"]):
            replay = Replay(settings["draws"][variant["name"]][view])
            before, chosen, mask = sampler(variant["seq_len"], replay, before)
            place = f"{variant['name']}/view{view}"
            out |= {f"{place}/steps": before, f"{place}/chosen_steps": chosen, f"{place}/video_mask": mask}
            assert next(replay.draws, None) is None
    return out


class TorchDraws:
    """Draws by torch's own generator, as the official loader makes them."""

    def integers(self, low: int, high: int, size: Any = None) -> Any:
        return int(torch.randint(low, high, (1,)))

    def permutation(self, x: int) -> np.ndarray:
        return torch.randperm(x).numpy()

    def uniform(self, low: float, high: float) -> float:
        raise AssertionError


def action_sampler(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "world_size", "batch_size", "seed", "action_to_indices")
    torch.manual_seed(settings["seed"])
    batches = class_batches(
        settings["action_to_indices"], settings["batch_size"], TorchDraws(), settings["world_size"]
    )
    return {"batches": np.array(batches), "len": np.array(len(batches))}


RUNNERS = {
    "carl.tasks": tasks,
    "carl.logreg": logreg,
    "carl.alignment": alignment,
    "carl.embed_chunks": embed_chunks,
    "carl.schedules": schedules,
    "carl.sampling": sampling,
    "carl.action_sampler": action_sampler,
}
