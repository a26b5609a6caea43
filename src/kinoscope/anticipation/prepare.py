"""`kinoscope prepare prototypes`: language prototypes of a data set's action classes, in the official files and ours.

| file | holds |
|---|---|
| `encodings_<dataset>.pth` | official: {class id: (C,) float32} |
| `similarities_<dataset>.pth` | official: {class id: (1, A) cosines} |
| `prototypes_<dataset>.npz` | ours: `names` (A,) sentences, `vectors` (A, C) float32, `encoder` |
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.anticipation.class_names import sentence
from kinoscope.anticipation.language import (
    DEFAULT_ENCODER,
    LABEL_FILES,
    Encoder,
    read_prototypes,
    sentence_encoder,
    sentences,
    write_prototypes,
)
from kinoscope.engine.files import write_bytes
from kinoscope.errors import KinoscopeError

NAMES = {"50salads": "50Salads"}  # official keyword of a data set, where it differs


def prepare_prototypes(
    dataset: str, labels: Path, target: Path, encoder: str = DEFAULT_ENCODER, encode: Encoder | None = None
) -> dict[str, Any]:
    """Writes the three files into `target`. labels: the official action list; of any other data set one class name a
    line. encoder: name or folder of a sentence-transformers model, or `minilm` for the packaged one."""
    if dataset in LABEL_FILES:
        texts = sentences(labels, NAMES.get(dataset, dataset))
    else:
        try:
            lines = [line.strip() for line in labels.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise KinoscopeError("the class names cannot be read", file=labels, value=str(error)) from error
        texts = [(k, sentence(line)) for k, line in enumerate(line for line in lines if line)]
    if not texts:
        raise KinoscopeError("there is no class name", file=labels)
    paths = write_prototypes(target, dataset, texts, encode or sentence_encoder(encoder))
    held = io.BytesIO()
    vectors = read_prototypes(paths[0]).numpy()
    np.savez(held, names=np.array([text for _, text in texts]), vectors=vectors, encoder=np.array(encoder))
    paths.append(target / f"prototypes_{dataset}.npz")
    write_bytes(paths[-1], held.getvalue())
    return {
        "classes": len(texts),
        "width": vectors.shape[1],
        "encoder": encoder,
        "files": [str(p) for p in paths],
    }
