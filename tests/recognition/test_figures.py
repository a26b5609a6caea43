"""Drawn motions: the box holds the figure, scenes are reproducible, and the recipe's data come in both splits."""

from __future__ import annotations

import numpy as np
import pytest

from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recognition.data import Clips, open_source
from kinoscope.recognition.figures import FIGURE, close_ups, scenes
from kinoscope.recognition.settings import MotionsData, RecognitionSettings


@pytest.fixture(scope="module")
def file() -> SkeletonFile:
    return SkeletonFile.load("builtin:hdm05_11")


def test_the_box_holds_the_figure_and_nothing_else_has_its_colour(file: SkeletonFile) -> None:
    for scene in scenes(file)[::40]:
        images, boxes = scene.render([0, 5, 10], 96, 28)
        for image, (top, left, bottom, right) in zip(images, boxes, strict=True):
            rows, columns = np.nonzero((np.asarray(image) == FIGURE).all(-1))
            assert len(rows) > 20
            assert top - 1 <= rows.min() <= rows.max() <= bottom + 1
            assert left - 1 <= columns.min() <= columns.max() <= right + 1
            assert rows.max() - rows.min() >= (bottom - top) - 2


def test_a_scene_is_the_same_each_time_and_moves_with_a_generator(file: SkeletonFile) -> None:
    scene = scenes(file)[0]
    (first,), (box,) = scene.render([3], 64, 20)
    (again,), _ = scene.render([3], 64, 20)
    _, (other,) = scene.render([3], 64, 20, np.random.default_rng(5))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert not np.allclose(box, other)


def test_people_of_the_test_are_not_trained_on() -> None:
    source = open_source(RecognitionSettings(data=MotionsData(copies=2)))
    people = [{e.scene.motion.subject for e in part if e.scene} for part in (source.train, source.test)]
    assert people[1] == {"mm"}
    assert not people[0] & people[1]
    clip = Clips(source.test[:1], 4, 64).exact(0)
    assert clip.frames.shape == (4, 3, 64, 64)
    assert clip.boxes is not None
    assert clip.boxes.shape == (4, 4)


def test_close_ups_hold_the_figure(file: SkeletonFile) -> None:
    images, boxes = scenes(file)[0].render([0, 4], 64, 26)
    cut, inside = close_ups(images, boxes, 40)
    assert all(image.size == (40, 40) for image in cut)
    for image, (top, left, bottom, right) in zip(cut, inside, strict=True):
        rows, columns = np.nonzero((np.asarray(image) == FIGURE).all(-1))
        assert top - 1 <= rows.min() <= rows.max() <= bottom + 1
        assert left - 1 <= columns.min() <= columns.max() <= right + 1
