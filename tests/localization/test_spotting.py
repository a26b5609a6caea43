from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kinoscope import builtin, cli
from kinoscope.errors import KinoscopeError
from kinoscope.localization.decode_arrays import instants
from kinoscope.localization.evaluate import evaluate_events, evaluate_files
from kinoscope.localization.instants import as_instants
from kinoscope.localization.spotting import evaluate_instants, read_spotting, starts, write_spotting
from kinoscope.localization.streams import StreamSource
from kinoscope.localization.thresholds import fit_thresholds
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.tasks import load_recipe
from kinoscope.timeline import Events


def at(*rows: tuple[float, int, float], video: str = "v") -> Events:
    time, label, score = (np.array(column) for column in zip(*rows, strict=True))
    return Events.of(video, np.stack([time, time], 1), label, score, ("a", "b"))


def test_a_truth_is_found_once_and_the_tolerance_includes_its_end() -> None:
    truth = at((1.0, 0, 1), (3.0, 0, 1))
    result = evaluate_instants(at((1.1, 0, 0.9), (1.0, 0, 0.8), (3.3, 0, 0.7)), truth, (0.1, 0.3))
    assert result["mAP"]["0.1"] == pytest.approx(0.5)
    assert result["mAP"]["0.3"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert result["F1"] == pytest.approx({"0.1": 2 / 3, "0.3": 0.8})


def test_classes_and_videos_are_kept_apart() -> None:
    truth = Events.concat([at((1.0, 0, 1)), at((1.0, 1, 1), video="w")])
    found = Events.concat([at((1.0, 1, 0.9)), at((1.0, 1, 0.8), video="w")])
    assert evaluate_events(found, truth, "instants")["mAP"]["0.1"] == pytest.approx(0.25)
    assert evaluate_events(truth, truth, "spotting_tight")["average_mAP"] == 1.0


def test_thresholds_of_instants_tell_right_from_wrong() -> None:
    found = at((1.1, 0, 0.9), (2.0, 0, 0.4), (2.0, 0, 0.3))
    assert 0.4 < fit_thresholds(found, at((1.0, 0, 1)), 2)[0] < 0.9


def test_starts_have_no_length() -> None:
    found = starts(Events.of("v", [[1, 4]], [0]))
    assert found.start_s.tolist() == found.end_s.tolist() == [1]


def test_the_benchmarks_files_are_read_and_written(tmp_path: Path) -> None:
    rows = [{"frame": 50, "label": "b"}, {"frame": 25, "label": "a"}]
    table = [
        {"video": "v", "fps": 25.0, "events": rows},
        {"video": "w", "fps": -1, "events": [{"frame": 7, "label": "b"}]},
    ]
    (tmp_path / "val.json").write_text(json.dumps(table))
    (tmp_path / "class.txt").write_text("b\na\n")
    events, fps = read_spotting(tmp_path / "val.json")
    assert events.label_names == ("b", "a")
    assert events.start_s.tolist() == [2.0, 1.0, 7.0]
    assert fps == {"v": 25.0, "w": 1.0}
    written = write_spotting(events, fps, {"v": 100})
    assert [row["frame"] for row in written[0]["events"]] == [25, 50]
    assert written[0]["num_frames"] == 100
    (tmp_path / "found.json").write_text(json.dumps(written))
    result = evaluate_files(tmp_path / "found.json", tmp_path / "val.json", "spotting_tight")
    assert result["average_mAP"] == pytest.approx(1.0)
    assert list(result["mAP"]) == ["0.5", "1", "1.5", "2", "2.5"]
    arguments = ["evaluate", "--predictions", str(tmp_path / "found.json"), "--protocol", "spotting_loose"]
    assert cli.main([*arguments, "--annotations", str(tmp_path / "val.json"), "--json"]) == 0
    (tmp_path / "val.json").write_text('[{"video": "v"}]')
    with pytest.raises(KinoscopeError, match="spotting"):
        read_spotting(tmp_path / "val.json")


def test_streams_as_instants() -> None:
    file = SkeletonFile.load(builtin.resolve("builtin:precog16"))
    assert file.segments is not None
    first = as_instants(file, "start").segments
    last = as_instants(file, "end").segments
    assert first is not None
    assert last is not None
    np.testing.assert_array_equal(first[:, 1], file.segments[:, 1])
    assert (last[:, 1] < np.diff(file.offset)[last[:, 0]]).all()
    with pytest.raises(KinoscopeError, match="instants"):
        as_instants(file, "key_event")


def test_clips_are_set_end_to_end_with_their_key_events() -> None:
    file = SkeletonFile.load(builtin.resolve("builtin:hdm05_11"))
    assert file.key_event is not None
    joined = as_instants(file, "key_event")
    assert joined.segments is not None
    assert len(joined.segments) == (file.key_event >= 0).sum() < len(file)
    assert joined.offset[-1] == file.offset[-1]
    assert len(joined) < len(file) / 4
    for stream in (joined[0], joined[len(joined) - 1]):
        frames = stream.segments[:, 0]
        assert (np.diff(frames) > 0).all()
        assert frames[-1] < len(stream.joints)


def test_instants_are_taught_as_wide_as_asked_for() -> None:
    data = ["data.instants=start", "data.warp=0.3", "data.instant_width_s=0.6"]
    settings = load_recipe("localization/snapformer_streams", data)
    item = StreamSource(settings.data, settings.model).training_item(0, np.random.default_rng(0))
    widths = item.segments[:, 1] - item.segments[:, 0]
    assert widths.tolist() == pytest.approx([0.6 * item.fps] * len(widths), abs=1e-3)


def test_coarse_heat_maps_tell_the_class_and_the_finest_the_moment() -> None:
    fine, coarse = np.full((8, 2), -9.0, np.float32), np.full((4, 2), -9.0, np.float32)
    fine[5] = [3.0, 2.0]  # something happens at step 5, as it seems of class 0
    coarse[2:4] = [-2.0, 4.0]  # around it, class 1 is seen
    settings = {"min_score": 0.01, "max_seg_num": 10, "peak_pyramid": False}
    _, score, label = instants([fine, coarse], (1, 2), 8, settings, gap=0)
    assert label.tolist() == [0, 1]
    segments, score, label = instants([fine, coarse], (1, 2), 8, {**settings, "peak_pyramid": True}, gap=0)
    assert label[0] == 1
    assert segments[0].tolist() == [5.0, 5.0]
    q = 1 / (1 + np.exp([2.0, -4.0]))
    assert score[0] == pytest.approx(1 / (1 + np.exp(-3.0)) * q[1] ** 2 / q.sum(), rel=1e-3)
