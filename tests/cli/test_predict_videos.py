"""From videos to a model and from the model back to videos: extract, train, predict, in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from kinoscope import Events, builtin, load
from kinoscope.check_video import check_videos
from kinoscope.cli import main
from kinoscope.errors import KinoscopeError
from kinoscope.from_video import VideoModel
from kinoscope.media.labelled import read_database
from kinoscope.media.video import probe

TINY = [
    "model.backbone.arch=[1, 1, 2]",
    "model.backbone.embd_dim=16",
    "model.backbone.n_mha_win_size=5",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=1",
    "train.schedule.warmup_epochs=1",
    "data.max_seq_len=32",
    "data.input_dim=1024",
    "data.num_classes=2",
    "data.feat_stride=2",
    "data.num_frames=4",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `weights.pth` of an encoder and `run`, a localizer trained on its features."""
    import timm

    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    torch.save(
        timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), folder / "weights.pth"
    )
    database = {
        f"cam0{k}": {
            "subset": "training" if k < 4 else "validation",
            "annotations": [
                {"label": "left", "segment": [0.2, 0.7]},
                {"label": "right", "segment": [0.8, 1.5]},
            ],
        }
        for k in range(1, 5)
    }
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    command = ["extract", "timm/mobilenetv3_small_050", str(builtin.path("multiview_small")), "--fps", "20"]
    command += ["--window", "4", "--stride", "2", "--output", str(folder / "store")]
    assert main([*command, "--weights", str(folder / "weights.pth")]) == 0
    data = [f"data.features={folder}/store", f"data.annotations={folder}/annotations.json"]
    run = [
        "train",
        "localization/actionformer_videos",
        *data,
        *TINY,
        "--output",
        str(folder / "run"),
        "--quiet",
    ]
    assert main(run) == 0
    return folder


def test_predict_takes_the_video_through_the_encoder_of_the_model(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, weights = builtin.path("multiview_small") / "cam02.mp4", str(trained / "weights.pth")
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    command = ["predict", str(trained / "run"), str(video), str(tmp_path / "bad.mp4"), "--all", "--json"]
    assert main([*command, "--encoder-weights", weights]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["skipped"]) == [str(tmp_path / "bad.mp4")]
    of_video = Events.from_json(result)
    of_store = load(trained / "run").predict(trained / "store", everything=True)
    stored = of_store[of_store.source == "cam02"]
    assert set(of_video.source) == {"cam02"}
    for field in ("start_s", "score"):  # batches of other lengths add up in another order
        mine, theirs = (sorted(getattr(events, field).tolist()) for events in (of_video, stored))
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_every_form_of_the_answer(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, weights = builtin.path("multiview_small"), str(trained / "weights.pth")
    video = tmp_path / "dance & more.mp4"
    video.write_bytes((folder / "cam01.mp4").read_bytes())
    base = ["predict", str(trained / "run"), str(video), "--all", "--encoder-weights", weights]
    more = ["--annotated", str(tmp_path / "copies"), "--report", str(tmp_path / "page")]
    assert main([*base, "--format", "elan", "--output", str(tmp_path / "found.eaf"), *more]) == 0
    events = Events.from_json(json.loads((tmp_path / "page" / "predictions.json").read_text()))
    found = read_database(tmp_path / "found.eaf")["dance & more"]["annotations"]
    assert len(found) == len(events)
    expected = sorted(round(float(start), 3) for start in events.start_s)
    assert sorted(row["segment"][0] for row in found) == pytest.approx(expected, abs=0.001)
    copy = probe(tmp_path / "copies" / "dance & more.mp4")
    assert (copy.width, copy.height) == (360, 640)
    assert copy.duration_s == pytest.approx(probe(video).duration_s, abs=0.1)
    assert (tmp_path / "page" / "report.html").is_file()
    capsys.readouterr()
    assert main([*base, "--format", "vtt"]) == 0
    assert capsys.readouterr().out.startswith("WEBVTT\n\n00:00:")
    assert main([*base, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("video,start_s,end_s,label,score\ndance & more,")
    several = ["predict", str(trained / "run"), str(folder), "--encoder-weights", weights, "--format", "vtt"]
    assert main([*several, "--output", str(tmp_path / "cues")]) == 0
    assert sorted(path.name for path in (tmp_path / "cues").iterdir()) == [
        f"cam0{k}.vtt" for k in range(1, 5)
    ]


def test_a_model_says_why_it_cannot_take_a_video(trained: Path, tmp_path: Path) -> None:
    video = builtin.path("multiview_small") / "cam02.mp4"
    with pytest.raises(KinoscopeError, match="encoder-weights FILE"):
        load(trained / "run").predict(video)
    import timm

    torch.manual_seed(1)
    other = tmp_path / "other.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), other)
    with pytest.raises(KinoscopeError, match="give the same weights"):
        load(trained / "run", encoder_weights=other).predict(video)


def test_annotations_of_other_tools_train_the_same(trained: Path, tmp_path: Path) -> None:
    """One ELAN document a video, in a folder a subset, says what the ActivityNet file says."""
    from kinoscope.localization.annotations import Annotations
    from kinoscope.timeline.captions import Caption, elan

    plain = Annotations.read(trained / "annotations.json")
    for video, entry in plain.videos.items():
        rows = [Caption(start, end, plain.label_names[label], 1.0) for start, end, label in entry.rows]
        (tmp_path / entry.subset).mkdir(exist_ok=True)
        (tmp_path / entry.subset / f"{video}.eaf").write_text(elan(rows, f"file:///videos/{video}.mp4"))
    again = Annotations.read(tmp_path)
    assert again.label_names == plain.label_names
    assert {v: (e.subset, e.rows) for v, e in again.videos.items()} == {
        v: (e.subset, e.rows) for v, e in plain.videos.items()
    }


def test_check_says_whether_a_model_takes_a_video(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, weights = str(builtin.path("asl") / "eat.mkv"), str(trained / "weights.pth")
    command = ["check", str(trained / "run"), video]
    assert main([*command, "--encoder-weights", weights]) == 0
    told = capsys.readouterr().out
    assert "The model reads features." in told
    assert f"kinoscope extract timm/mobilenetv3_small_050 {video} --window 4 --stride 2 --fps 20" in told
    assert main(command) == 1
    assert "--encoder-weights FILE" in capsys.readouterr().out
    (tmp_path / "text.mp4").write_text("nothing")
    assert (
        main(["check", str(trained / "run"), str(tmp_path / "text.mp4"), "--encoder-weights", weights]) == 1
    )
    assert "no video that can be read" in capsys.readouterr().out


class Joints:
    """Stands for a model of skeletons of a Kinect."""

    about: ClassVar = {"joint_names": ["hip_centre", "head"]}

    def predict(self, path: Path, everything: bool = False) -> None:
        raise AssertionError("the model must not be asked")


def test_check_and_predict_name_the_joints_that_do_not_fit() -> None:
    video = builtin.path("asl") / "eat.mkv"
    findings = check_videos(VideoModel(Joints()), [video])
    assert any("trained on 2 joints" in error and "kinoscope pose" in error for error in findings["errors"])
    with pytest.raises(KinoscopeError, match="other joints"):
        VideoModel(Joints()).predict(video)


def test_check_warns_of_other_rates() -> None:
    class Rates:
        about: ClassVar = {
            "encoders": [
                {"name": "pose", "weights": "x", "sampling": {"window": 500, "stride": 4, "fps": None}}
            ],
            "axis": {"fps": 60.0},
        }

    findings = check_videos(VideoModel(Rates()), [builtin.path("asl") / "eat.mkv"])
    assert any("30 frames a second, but the model was trained at 60" in text for text in findings["warnings"])
    assert any("47 frames are less than the 500 of one step" in text for text in findings["warnings"])


def test_the_recipe_of_own_videos_fits_a_store_and_labels_without_rates(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [
        f"data.features={trained}/store",
        f"data.annotations={trained}/annotations.json",
        "data.num_classes=2",
    ]
    shape = ["data.input_dim=1024", "data.feat_stride=2", "data.num_frames=4"]
    assert main(["check", "localization/actionformer_videos", *data, *shape]) == 0
    told = capsys.readouterr().out
    assert "frame rate" not in told
    assert "duration" not in told
