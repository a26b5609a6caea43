"""FineGym: events and frame labels from the annotations, the commands of the official preparation (section 8.4), and
the linear probe on stored embeddings (section 12).

Different from the official code: events are sorted by name (the official order is that of a set).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.representation.evaluate import labelled
from kinoscope.representation.official_data import Entry
from kinoscope.representation.official_files import read_pickle

Annotations = Mapping[str, Mapping[str, Any]]
Probe = Callable[[str], tuple[float, int]]


def read_elements(path: Path) -> dict[str, int]:
    """{`<video>_E_.._.._A_.._..`: class} of an element list."""
    elements = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                name, label = line.split()
                elements[name] = int(label)
            except ValueError as error:
                raise KinoscopeError(
                    "a line must be an element and its class", file=path, field=f"line {number}", value=line
                ) from error
    return elements


def event_of(element: str) -> str:
    """The event that an element belongs to.

    >>> event_of("AbC_E_000010_000022_A_0001_0003")
    'AbC_E_000010_000022'
    """
    return element.rsplit("_A_", 1)[0]


def events(annotations: Annotations, elements: Mapping[str, int], probe: Probe) -> list[Entry]:
    """The events that have a listed element, sorted, with a label for each frame (-1: none).

    probe: event name -> (frames a second, frames) of its trimmed video. An element fills the frames from its start to
    its end, both taken from the last stage of its time stamps, the last frame included.
    """
    entries = []
    for number, name in enumerate(sorted({event_of(element) for element in elements})):
        event = _event(annotations, name)
        rate, count = probe(name)
        labels = np.full(count, -1, np.int64)
        for segment, times in (event["segments"] or {}).items():
            label = elements.get(f"{name}_{segment}")
            if label is not None:
                start, end = times["timestamps"][-1]
                labels[int(start * int(rate)) : int(end * int(rate)) + 1] = label
        entries.append(
            Entry(number, name, f"processed_videos/{name}.mp4", count, labels, int(event["event"]))
        )
    return entries


def unlabelled_events(annotations: Annotations, elements: Sequence[Mapping[str, int]]) -> list[str]:
    """Names of the events without any listed element: the additional training set."""
    used = {event_of(element) for table in elements for element in table}
    every = {f"{video}_{event}" for video, entries in annotations.items() for event in entries}
    return sorted(every - used)


def _event(annotations: Annotations, name: str) -> Mapping[str, Any]:
    video, event = name.rsplit("_E_", 1)
    try:
        found: Mapping[str, Any] = annotations[video][f"E_{event}"]
    except KeyError as error:
        raise KinoscopeError(
            "the annotations have no such event",
            field="event",
            value=name,
            remedy="take annotations and element lists of one version",
        ) from error
    return found


def official_commands(annotations: Annotations, name: str, raw: str, root: str) -> list[str]:
    """The three ffmpeg passes of the official preparation of one event; raw: its video's suffix.

    The first copies the stream, so that a cut starts at a key frame; the others scale to 640 x 360 and to 25 fps.
    """
    start, end = _event(annotations, name)["timestamps"][0]
    video = name.rsplit("_E_", 1)[0]
    call = "ffmpeg -hide_banner -loglevel panic -y"
    target, temporary = (f"{root}/processed_videos/{name}{end}.mp4" for end in ("", "_temp"))
    source = f"{root}/FineGym_Raw_database/{video}{raw}"
    return [
        f"{call} -ss {start}s -to {end}s -i {source} -c:v copy -c:a copy {target}",
        f"{call} -i {target} -strict -2 -vf scale=640:360 {temporary}",
        f"{call} -i {temporary} -filter:v fps=25 {target}",
    ]


@dataclass(frozen=True)
class ProbeResult:
    """Accuracies in per cent: of training frames during the last epoch, of test frames after it; the layer."""

    train: float
    test: float
    layer: nn.Linear


def linear_probe(
    train: Sequence[tuple[np.ndarray, np.ndarray]],
    test: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: int = 99,
    rate: float = 50.0,
    epochs: int = 100,
    batch_size: int = 10,
    seed: int = 0,
    layer: nn.Linear | None = None,
) -> ProbeResult:
    """Linear classification of frames: (embeddings (n, D), labels (n,)) by video, -1 for unlabelled frames.

    SGD with momentum 0.9 and weight decay 1e-6 over batches of `batch_size` videos; the rate follows a cosine by epoch.
    Raises KinoscopeError where the training videos do not fill a batch.
    """
    if len(train) < batch_size:
        raise KinoscopeError(
            f"the linear probe needs {batch_size} training videos",
            value=len(train),
            remedy="take more videos",
        )
    known = [_tensors(*pair) for pair in train]
    if layer is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layer = nn.Linear(known[0][0].shape[1], classes)
    optimizer = torch.optim.SGD(layer.parameters(), rate, momentum=0.9, weight_decay=1e-6)
    order = np.random.default_rng(seed)
    right = seen = 0
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        right = seen = 0
        shuffled = order.permutation(len(known))
        for start in range(0, len(known) - batch_size + 1, batch_size):
            batch = [known[k] for k in shuffled[start : start + batch_size]]
            x, y = (torch.cat(part) for part in zip(*batch, strict=True))
            scores = layer(x)
            optimizer.zero_grad()
            F.cross_entropy(scores, y).backward()
            optimizer.step()
            right += int((scores.argmax(1) == y).sum())
            seen += len(y)
    x, y = (torch.cat(part) for part in zip(*(_tensors(*pair) for pair in test), strict=True))
    with torch.no_grad():
        found = (layer(x).argmax(1) == y).float().mean().item()
    return ProbeResult(100 * right / max(seen, 1), 100 * found, layer)


def _tensors(embs: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = labelled(embs, labels)
    return torch.from_numpy(x).float(), torch.from_numpy(y).long()


def save_embeddings(folder: Path, name: str, embs: np.ndarray, labels: np.ndarray) -> Path:
    """One video's embeddings as the official pickle {embs, labels, seq_len, name}; returns its path."""
    content = {
        "embs": torch.as_tensor(embs),
        "labels": torch.as_tensor(labels),
        "seq_len": len(embs),
        "name": name,
    }
    path = folder / f"{name}.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def read_embeddings(path: Path) -> dict[str, Any]:
    """The content of an embedding pickle, read without running what it may contain."""
    content: dict[str, Any] = read_pickle(path)
    return content
