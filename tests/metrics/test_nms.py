"""Suppression: lock-step over classes equals one class after the other, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.metrics.nms import batched_nms, peak_nms, soft_nms, vote


def _candidates(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    start = draw.uniform(0, 60, count)
    segments = np.stack([start, start + draw.uniform(0.5, 20, count)], 1).astype(np.float32)
    return segments, draw.uniform(0.001, 1, count).astype(np.float32), draw.integers(0, classes, count)


def _one_by_one(segments, scores, labels, limit, sigma, min_score):
    rows, new = [], []
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        index, score = soft_nms(segments[own], scores[own], 0.1, sigma, min_score)
        rows.append(own[index][:limit])
        new.append(score[:limit])
    rows, new = np.concatenate(rows), np.concatenate(new)
    order = np.argsort(-new, kind="stable")[:limit]
    return rows[order], new[order]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 300),
    st.integers(1, 8),
    st.integers(1, 120),
    st.sampled_from([0.005, 0.5]),
)
def test_lockstep_equals_class_after_class(seed, count, classes, limit, sigma):
    given_ = _candidates(seed, count, classes)
    rows, score = _one_by_one(*given_, limit, sigma, 0.01)
    found = batched_nms(*given_, min_score=0.01, max_seg_num=limit, sigma=sigma)
    np.testing.assert_allclose(found[1], score, rtol=1e-6)
    np.testing.assert_array_equal(found[2], given_[2][rows])
    np.testing.assert_array_equal(found[0], given_[0][rows])


def test_equal_scores_follow_the_official_array_order():
    """After the removal of a middle element the last one stands in its place and is met first."""
    segments = np.array([[0, 10], [0, 10], [20, 30], [40, 50]], np.float32)
    scores = np.array([0.9, 0.2, 0.5, 0.5], np.float32)
    index, _ = soft_nms(segments, scores, sigma=0.5, min_score=0.1)
    assert index.tolist() == [0, 3, 2]  # element 1 fell out, element 3 took its place before element 2
    assert batched_nms(segments, scores, np.zeros(4, int), min_score=0.1)[0][1, 0] == 40


def test_best_score_is_emitted_even_below_the_threshold():
    segments, scores = np.array([[0.0, 1.0]]), np.array([0.001])
    assert len(batched_nms(segments, scores, np.zeros(1, int), min_score=0.5)[1]) == 1


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("multiclass", [True, False])
def test_nothing_in_nothing_out(soft, multiclass):
    empty = batched_nms(np.empty((0, 2)), np.empty(0), np.empty(0), use_soft_nms=soft, multiclass=multiclass)
    assert [len(part) for part in empty] == [0, 0, 0]


def test_voting_leaves_a_segment_without_length_alone():
    kept = np.array([[5.0, 5.0]], np.float32)
    np.testing.assert_array_equal(vote(kept, kept, np.ones(1), 0.5), kept)


@given(st.integers(0, 2**31), st.floats(0.0, 30.0))
@settings(max_examples=30, deadline=None)
def test_peaks_are_suppressed_as_a_plain_loop_does(seed: int, gap: float) -> None:
    random = np.random.default_rng(seed)
    place, score = random.integers(0, 100, 60).astype(float), random.random(60)
    label = random.integers(0, 3, 60)
    kept: list[int] = []
    for i in np.argsort(-score):
        if all(label[i] != label[j] or abs(place[i] - place[j]) >= gap for j in kept):
            kept.append(int(i))
    assert peak_nms(place, score, label, gap).tolist() == kept
