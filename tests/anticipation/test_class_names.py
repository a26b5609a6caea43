from __future__ import annotations

import numpy as np

from kinoscope.anticipation.class_names import SHIPPED, TRIGRAMS, vectors
from kinoscope.media.skeleton import SkeletonFile


def test_shipped_vectors_know_what_is_alike() -> None:
    names = SkeletonFile.load("builtin:precog16").label_names
    found, source = vectors(names)
    assert source == SHIPPED
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    alike = found @ found.T
    kick, other, strike = (names.index(x) for x in ("side left kick", "side right kick", "elbow strike"))
    assert alike[kick, other] > alike[kick, strike] + 0.3


def test_names_nobody_knows_get_trigrams() -> None:
    found, source = vectors(["grind coffee", "grind pepper", "wash hands"])
    assert source == TRIGRAMS
    alike = found @ found.T
    assert alike[0, 1] > alike[0, 2]
    again, _ = vectors(["grind coffee", "grind pepper", "wash hands"])
    np.testing.assert_array_equal(found, again)
