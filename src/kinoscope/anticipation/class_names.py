"""Language vectors of class names without a sentence encoder.

The vectors of the built-in data sets' class names are shipped: all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0),
mean over tokens, unit length, 384 wide, float16, made from the names as `sentence` spells them. Names that are not in
the table get hashed letter trigrams of the same width: names that share words are alike, meanings are not known.
`kinoscope.anticipation.language.sentence_encoder` gives real vectors of any names (`train.language`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from importlib import resources

import numpy as np

WIDTH = 384
SHIPPED = "all-MiniLM-L6-v2"
TRIGRAMS = "letter trigrams"


def sentence(name: str) -> str:
    """A class name as words.

    >>> sentence("KneeRaise"), sentence("take_cup")
    ('knee raise', 'take cup')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(apart.replace("_", " ").lower().split())


def trigram_vector(text: str) -> np.ndarray:
    """(WIDTH,) unit vector of the hashed letter trigrams of each word."""
    vector = np.zeros(WIDTH, np.float32)
    for word in sentence(text).split():
        padded = f"<{word}>"
        for k in range(len(padded) - 2):
            vector[zlib.crc32(padded[k : k + 3].encode()) % WIDTH] += 1
    return vector / max(float(np.linalg.norm(vector)), 1e-8)


def vectors(names: Sequence[str]) -> tuple[np.ndarray, str]:
    """(A, WIDTH) float32, and where they are from: the shipped table where it has all names, else trigrams."""
    with resources.files("kinoscope.anticipation").joinpath("language_minilm.npz").open("rb") as file:
        table = np.load(file)
        known = dict(zip(table["names"].tolist(), table["vectors"].astype(np.float32), strict=True))
    words = [sentence(name) for name in names]
    if all(word in known for word in words):
        return np.stack([known[word] for word in words]), SHIPPED
    return np.stack([trigram_vector(word) for word in words]), TRIGRAMS
