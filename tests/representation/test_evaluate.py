"""The evaluation tasks against scipy and scikit-learn, one pair and one query at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kendalltau
from sklearn.linear_model import LinearRegression, LogisticRegression

from kinoscope.errors import KinoscopeError
from kinoscope.representation import evaluate
from kinoscope.representation.probes import SoftmaxRegression

draws = np.random.default_rng(0)
VIDEOS = [
    (np.linspace(0, 1, n)[:, None] * 3 + draws.standard_normal((n, 6))).astype(np.float32)
    for n in (30, 41, 25, 60)
]
LABELS = [np.minimum(np.arange(len(video)) * 3 // len(video), 2) for video in VIDEOS]


@pytest.mark.parametrize("stride", [1, 3])
def test_tau(stride: int) -> None:
    cut = [video[::stride] for video in VIDEOS]
    expected = [
        kendalltau(np.arange(len(a)), cdist(a, b, "sqeuclidean").argmin(1)).statistic
        for a in cut
        for b in cut
        if a is not b
    ]
    assert evaluate.kendalls_tau(VIDEOS, stride) == pytest.approx(np.mean(expected))


def test_tau_of_a_single_video_is_undefined() -> None:
    assert np.isnan(evaluate.kendalls_tau(VIDEOS[:1]))


def test_retrieval() -> None:
    expected = []
    for k, video in enumerate(VIDEOS):
        others = [j for j in range(len(VIDEOS)) if j != k]
        keys, marks = (np.concatenate([part[j] for j in others]) for part in (VIDEOS, LABELS))
        order = np.argsort(cdist(video, keys, "sqeuclidean"), axis=1, kind="stable")[:, :5]
        expected.append((marks[order] == LABELS[k][:, None]).mean())
    assert evaluate.retrieval(VIDEOS, LABELS, (5,))[5] == pytest.approx(np.mean(expected))


def test_retrieval_breaks_ties_by_order() -> None:
    videos = [np.zeros((2, 1)), np.zeros((40, 1))]
    labels = [np.array([0, 0]), np.array([0] * 3 + [1] * 37)]
    assert evaluate.retrieval(videos, labels, (3,))[3] == pytest.approx((1 + 3 / 40) / 2)


@pytest.mark.parametrize("classes", [2, 3])
def test_softmax_regression(classes: int) -> None:
    x, y = np.concatenate(VIDEOS), np.minimum(np.concatenate(LABELS), classes - 1)
    ours = SoftmaxRegression.fit(x, y, tolerance=1e-9)
    theirs = LogisticRegression(C=2.0 if classes == 2 else 1.0, tol=1e-9, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(x), atol=1e-3)
    with pytest.raises(KinoscopeError, match="two classes"):
        SoftmaxRegression.fit(x, np.zeros(len(x)))


def test_progression() -> None:
    x, y = np.concatenate(VIDEOS), evaluate.progression_targets(LABELS, 3)
    expected = np.mean([LinearRegression().fit(x, t).score(x, t) for t in y.T])
    found = evaluate.event_completion(VIDEOS, LABELS, VIDEOS, LABELS, 3)
    assert found == pytest.approx((expected, expected))


def test_a_phase_that_a_video_lacks_costs_that_target() -> None:
    short = [np.zeros(len(LABELS[0]), np.int64), *LABELS[1:]]
    assert np.isnan(evaluate.progression_targets(short, 3)[: len(short[0]), 1]).all()
    assert np.isfinite(evaluate.event_completion(VIDEOS, short, VIDEOS, short, 3)).all()
