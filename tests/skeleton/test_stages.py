"""Recipes end to end on a handful of made-up clips: every method, every protocol, prediction, bad settings."""

import json
import pickle

import numpy as np
import pytest
import torch
import yaml

from kinoscope.cli import main
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.skeleton.check import check
from kinoscope.skeleton.configuration import convert_configuration
from kinoscope.skeleton.fuse import ensemble_of_runs
from kinoscope.skeleton.models import AimCLR, EncoderConfig, SideBySide
from kinoscope.skeleton.official import official_state
from kinoscope.skeleton.predict import load_official
from kinoscope.skeleton.stages import stages
from kinoscope.skeleton.streams import STREAMS
from kinoscope.tasks import load_recipe

NAMES = ("Hip", "Spine", "ShoulderCenter", "ShoulderLeft", "HandLeft", "ShoulderRight", "HandRight")
PARENTS = (-1, 0, 1, 2, 3, 2, 5)
SHORT = (
    *("model.hidden_channels=4", "model.hidden_dim=8", "model.feature_dim=6", "data.frames=8"),
    *("train.minutes=null", "train.epochs=2", "linear.epochs=2", "finetune.epochs=2"),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two actions (raise the left or the right hand) of three people."""
    random = np.random.default_rng(0)
    rest = np.array(
        [[0, 0, 0], [0, 0.3, 0], [0, 0.6, 0], [-0.2, 0.6, 0], [-0.3, 0.1, 0], [0.2, 0.6, 0], [0.3, 0.1, 0]]
    )
    clips, labels, subjects = [], [], []
    for subject in range(3):
        for label in range(2):
            for _ in range(6):
                clip = np.tile(rest * (1 + subject / 10), (12, 1, 1)) + random.normal(0, 0.01, (12, 7, 3))
                clip[:, 6 if label else 4, 1] += np.linspace(0, 1, 12)
                clips.append(clip)
                labels.append(label)
                subjects.append(subject)
    arrays = {
        "joints": np.concatenate(clips).astype(np.float32),
        "offset": np.arange(len(clips) + 1) * 12,
        "joint_names": np.array(NAMES),
        "parents": np.array(PARENTS),
        "fps": np.array(12.0),
        "subject": np.array(subjects),
        "subject_names": np.array(["a", "b", "c"]),
        "label": np.array(labels),
        "label_names": np.array(["left", "right"]),
    }
    return SkeletonFile.from_arrays(arrays).save(tmp_path_factory.mktemp("data") / "two.npz")


def run(file, folder, *overrides):
    settings = load_recipe("skeleton/aimclr_sequences", [f"data.train={file}", *SHORT, *overrides])
    return train_stages(stages(settings), folder, to_yaml(settings), resume=False, quiet=True)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.stream=three", "few_labels=[0.5]"),
        ("model.method=skeletonclr", "model.stream=bone", "model.encoder=graph"),
        ("model.method=crossclr", "model.stream=three", "train.mining_epoch=1"),
    ],
)
def test_every_method_and_protocol(file, tmp_path, overrides):
    result = run(file, tmp_path / "run", *overrides)
    for key in ("top1", "linear", "knn", "knn_untrained", "linear_untrained", "knn_poses"):
        assert 0 <= result[key] <= 100
    if "few_labels=[0.5]" in overrides:
        assert 0 <= result["labels_50"] <= 100
    kept = json.loads((tmp_path / "run" / "predictions.json").read_text())
    streams = (
        STREAMS
        if "model.stream=three" in overrides
        else (overrides[1].split("=")[1] if overrides else "all",)
    )
    assert set(kept["scores"]) == set(streams)
    assert len(kept["labels"]) == 12
    for stage in ("pretrain", "linear", "finetune"):
        model = load(tmp_path / "run" / "weights" / stage)
        found = model.predict(file)
        assert len(found.names) == 36
        assert (found.scores is None) == (stage == "pretrain")
        assert len(found.neighbours[0]) == 5
        if stage != "pretrain":
            told = model.evaluate(tmp_path)
            assert told["top1"] == pytest.approx(result["linear" if stage == "linear" else "top1"], abs=1e-6)


def test_weights_of_another_run_take_the_place_of_pretraining(file, tmp_path):
    run(file, tmp_path / "first")
    settings = load_recipe(
        "skeleton/aimclr_sequences", [f"data.train={file}", *SHORT, f"weights={tmp_path / 'first'}"]
    )
    assert [s.name for s in stages(settings)] == ["linear", "finetune"]
    result = train_stages(stages(settings), tmp_path / "second", to_yaml(settings), resume=False, quiet=True)
    assert (
        result["linear"] == json.loads((tmp_path / "first" / "protocols.json").read_text())["linear"]["top1"]
    )
    other = load_recipe(
        "skeleton/aimclr_sequences",
        [f"data.train={file}", *SHORT, f"weights={tmp_path / 'first'}", "model.hidden_dim=12"],
    )
    with pytest.raises(KinoscopeError, match=r"do not fit this encoder.*of shape"):
        train_stages(stages(other), tmp_path / "third", to_yaml(other), resume=False, quiet=True)


def test_three_streams_in_one_run_are_three_single_runs():
    torch.manual_seed(0)
    config = EncoderConfig(hidden_channels=4, hidden_dim=8, dropout=0.0)
    single = {name: AimCLR(config, 6, 16) for name in STREAMS}
    together = SideBySide({name: AimCLR(config, 6, 16) for name in STREAMS})
    for name, part in single.items():
        together.parts[name].load_state_dict(part.state_dict())
    views = {name: [torch.randn(4, 3, 12, 25, 2) for _ in range(3)] for name in STREAMS}
    found = together(views, 1)
    together.enqueue({name: out.keys for name, out in found.items()})
    for name, part in single.items():
        alone = part(*views[name], 1)
        part.enqueue(alone.keys)
        assert torch.equal(alone.logits, found[name].logits)
        for one, other in zip(
            part.state_dict().values(), together.parts[name].state_dict().values(), strict=True
        ):
            assert torch.equal(one, other)


def test_crossclr_needs_three_streams(file):
    with pytest.raises(KinoscopeError, match="three streams"):
        load_recipe("skeleton/aimclr_sequences", ["model.method=crossclr", "model.stream=joint"])


def test_check_says_what_is_wrong_before_training(file):
    def found(*overrides):
        return check(load_recipe("skeleton/aimclr_sequences", [f"data.train={file}", *overrides]))

    fine = found()
    assert fine["errors"] == []
    assert "24 training and 12 test clips of 2 classes" in fine["advice"][0]
    for overrides, part in (
        (("data.train=none.npz",), "no such skeleton file"),
        (('augment.extreme="17"',), "digits 1 to 6"),
        (("weights=none",), "no such file or folder"),
        (("model.queue_size=10",), "whole number of batches"),
        (("finetune.batch_size=100",), "more than the 24 training clips"),
    ):
        assert part in " ".join(found(*overrides)["errors"])
    same = found(f"data.test={file}")["warnings"]
    assert any("stand in both parts" in line for line in same)
    assert any("same people" in line for line in same)


def test_an_official_configuration_becomes_a_recipe(tmp_path):
    path = tmp_path / "linear.yaml"
    path.write_text(
        "work_dir: out\nlearning_rate: 1\nmodel: net.aimclr.AimCLR\nmodel_args: {pretrain: False, num_class: 60, "
        "Temperature: 0.1, graph_args: {layout: ntu-rgb+d, strategy: spatial}}\nbase_lr: 3.\nweight_decay: 1e-4\n"
        "step: [80]\nnum_epoch: 100\nstream: bone\nweights: w.pt\n"
        "train_feeder_args: {data_path: data/xsub/train_position.npy, mmap: True}\n"
    )
    text, unknown = convert_configuration(path)
    recipe = yaml.safe_load(text)
    assert recipe["linear"]["optimizer"]["weight_decay"] == 1e-4
    assert recipe["linear"]["schedule"]["steps"] == [80]
    assert recipe["model"] == {
        "method": "aimclr",
        "stream": "bone",
        "temperature": 0.1,
        "strategy": "spatial",
    }
    assert (recipe["data"]["train"], recipe["weights"]) == ("data/xsub", "w.pt")
    assert unknown == [
        "learning_rate", "model_args.graph_args.layout", "model_args.num_class", "train_feeder_args.mmap", "work_dir"
    ]  # fmt: skip
    path.write_text("a: 1\n")
    with pytest.raises(KinoscopeError, match="no configuration of AimCLR"):
        convert_configuration(path)


def test_a_saved_model_says_the_same(file, tmp_path):
    run(file, tmp_path / "run")
    for stage in ("pretrain", "linear", "finetune"):
        model = load(tmp_path / "run" / "weights" / stage)
        model.save(tmp_path / stage)
        one, other = model.predict(file), load(tmp_path / stage).predict(file)
        np.testing.assert_allclose(one.embeddings, other.embeddings, rtol=1e-5)
        if one.scores is not None:
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-4)


def test_run_and_prediction_have_a_page(file, tmp_path, capsys):
    run(file, tmp_path / "run")
    page = write(tmp_path / "run").read_text()
    for part in (
        "Accuracy per class",
        "Confusion",
        "Map of embeddings",
        "linear evaluation of an untrained encoder",
    ):
        assert part in page
    assert main(["predict", str(tmp_path / "run"), str(file), "--report", str(tmp_path / "p"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["clips"]
    assert len(answer) == 36
    assert answer[0]["neighbours"][0]["label"] in ("left", "right")
    page = (tmp_path / "p" / "report.html").read_text()
    assert "<animate" in page
    assert "Nearest training clips" in page


def test_three_single_runs_make_the_ensemble_that_one_run_of_three_tells(tmp_path):
    random = np.random.default_rng(0)
    names = [f"clip{i}" for i in range(20)]
    labels = {name: int(random.integers(4)) for name in names}
    scores = {s: {name: random.standard_normal(4).tolist() for name in names} for s in STREAMS}
    for s in STREAMS:
        (tmp_path / s).mkdir()
        shuffled = {name: scores[s][name] for name in random.permutation(names)}
        (tmp_path / s / "predictions.json").write_text(
            json.dumps({"scores": {s: shuffled}, "labels": labels})
        )
    found = ensemble_of_runs([tmp_path / s for s in STREAMS])
    total = sum(
        w * np.array(list(scores[s].values())) for s, w in (("joint", 0.6), ("bone", 0.6), ("motion", 0.4))
    )
    assert found["top1"] == pytest.approx(100 * np.mean(total.argmax(1) == list(labels.values())))
    with pytest.raises(KinoscopeError, match="the same stream"):
        ensemble_of_runs([tmp_path / "joint", tmp_path / "joint"])
    with pytest.raises(KinoscopeError, match="no scores"):
        ensemble_of_runs([tmp_path])
    other = {"scores": {"bone": scores["bone"]}, "labels": {**labels, "clip0": (labels["clip0"] + 1) % 4}}
    (tmp_path / "bone" / "predictions.json").write_text(json.dumps(other))
    with pytest.raises(KinoscopeError, match="different samples or labels"):
        ensemble_of_runs([tmp_path / s for s in STREAMS])


def test_released_weights_predict_and_are_judged(tmp_path):
    """Files in the official format: embeddings of a recording, then every downstream protocol on official arrays."""
    random, sizes = np.random.default_rng(0), ("model.hidden_channels=4", "model.hidden_dim=8")
    for name in STREAMS:
        model = AimCLR(EncoderConfig(hidden_channels=4, hidden_dim=8), 6, 16)
        torch.save(official_state(model), tmp_path / f"ntu60_xsub_{name}.pt")
    for part, count in (("train", 12), ("val", 4)):
        labels = [i % 2 for i in range(count)]
        x = random.standard_normal((count, 3, 50, 25, 2)).astype(np.float32)
        np.save(tmp_path / f"{part}_position.npy", x)
        (tmp_path / f"{part}_label.pkl").write_bytes(
            pickle.dumps(([f"{part}{i}" for i in range(count)], labels))
        )
    body = ["1 0 1 0 1 0 0 0 0 2", "25", *[f"{0.1 * j} {0.2 * j} 2 " + "0 " * 9 for j in range(25)]]
    (tmp_path / "a.skeleton").write_text("\n".join(["2", "1", *body, "1", *body]) + "\n")
    settings = load_recipe("skeleton/aimclr_ntu60_xsub", sizes)
    found = load_official(tmp_path / "ntu60_xsub_joint.pt", settings).predict(tmp_path / "a.skeleton")
    assert found.embeddings.shape == (1, 8)
    assert found.scores is None
    overrides = [f"data.train={tmp_path}", f"weights={tmp_path}/ntu60_xsub_{{stream}}.pt", "few_labels=[0.5]"]
    overrides += [f"{s}.{k}" for s in ("linear", "finetune") for k in ("epochs=1", "batch_size=4")]
    settings = load_recipe("skeleton/aimclr_3s_ntu60_xsub", [*sizes, *overrides])
    result = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    assert {"top1", "top1_joint", "top1_motion", "top1_bone", "linear", "labels_50", "knn"} <= set(result)
    model = load(tmp_path / "run")
    assert model.evaluate(tmp_path)["top1"] == pytest.approx(result["top1"])
    torch.save({"encoder_q.fc.weight": torch.zeros(2, 8)}, tmp_path / "part.pt")
    with pytest.raises(KinoscopeError, match="missing"):
        load_official(tmp_path / "part.pt", settings)
