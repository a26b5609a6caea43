"""Annotated segments end to end: training, figures, submission, answers; nothing of the future is seen."""

from __future__ import annotations

import json
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from kinoscope import cli, load
from kinoscope.anticipation.segments import SegmentSource
from kinoscope.anticipation.settings import AnticipationSettings
from kinoscope.anticipation.stages import stages
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.recipe import merged, parse_override, to_yaml, validate

ACTIONS = "id,verb,noun,action\n" + "".join(
    f"{k},{k // 3},{k % 3},verb{k // 3} noun{k % 3}\n" for k in range(6)
)
DIM, SECONDS, CLASSES = 16, 60, 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of a minute: every ten seconds an action that the features before it tell; the first is at 0.5 s."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "actions.csv").write_text(ACTIONS)
    random = np.random.default_rng(0)
    signs = random.standard_normal((CLASSES, DIM))
    rows: dict[str, list[str]] = {"train": [], "test": []}
    environment = lmdb.open(str(folder / "store"), map_size=2**26)
    with environment.begin(write=True) as put:
        for number in range(6):
            video, part = f"P0{number}_01", "train" if number < 4 else "test"
            label = random.integers(0, CLASSES, 7)
            values = 0.2 * random.standard_normal((SECONDS * 30, DIM))
            for k, action in enumerate(label):
                start = 0.5 if k == 0 else 10.0 * k - 1
                first = int(max(start - 5, 0) * 30)
                values[first : int(start * 30)] += signs[action]
                rows[part].append(
                    f"{video}_{k},{video},{int(start * 30)},{int(start * 30) + 60},{action // 3},{action % 3},{action}"
                )
            for frame, vector in enumerate(values.astype("<f4"), start=1):
                if frame % 3 == 0:
                    put.put(f"{video}_frame_{frame:010d}.jpg".encode(), vector.tobytes())
            np.save(folder / f"{video}.npy", values[::6].astype(np.float32))
    environment.close()
    for part, lines in rows.items():
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    for space in ("verb", "noun", "action"):
        (folder / f"validation_tail_{space}s_ids.csv").write_text("P04_01_1\nP04_01_2\n")
    (folder / "validation_unseen_participants_ids.csv").write_text("P05_01_1\nP05_01_3\n")
    return folder


def recipe(world: Path, *changes: str) -> AnticipationSettings:
    values = {
        "task": "anticipation",
        "data": {
            "kind": "segments",
            "dataset": "epic100",
            "train": [str(world / "train.csv")],
            "test": [str(world / "test.csv")],
            "actions": str(world / "actions.csv"),
            "lists": str(world),
            "input": {"kind": "lmdb", "folders": [str(world / "store")]},
            "num_frames": 4,
            "tau_o": 4,
        },
        "model": {
            "intermediate_featdim": 64,
            "inter_dim": 32,
            "n_layer": 1,
            "n_head": 2,
            "initialisation": "fan_in",
        },
        "train": {
            "epochs": 30,
            "batch_size": 7,
            "optimizer": {"kind": "adamw", "learning_rate": 0.01},
            "schedule": {"kind": "warmup_cosine", "warmup_epochs": 1},
            "ema_decay": None,
            "validate_every": 30,
            "losses": {"feat": 0.001},
        },
    }
    for change in changes:
        parsed = parse_override(change)
        values = merged(values, parsed)
    return validate(AnticipationSettings, values, "recipe")


@pytest.fixture(scope="module")
def run(world: Path) -> Path:
    chosen = recipe(world, "data.store_embeddings=3")
    train_stages(stages(chosen), world / "run", to_yaml(chosen), resume=False, quiet=True)
    return world / "run"


def test_features_before_an_action_tell_it(run: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    assert result["top1"] > 60
    assert result["segments"] == 12
    assert result["without_observable_frames"] == 2
    assert result["all_segments"]["top1"] == pytest.approx(result["top1"] * 12 / 14)
    assert result["numerics"] == "official"
    assert "validation" in result["protocol"]
    for space in ("verb", "noun", "action"):
        assert {
            "top1",
            "class_mean_recall@5",
            "class_mean_recall@5_tail",
            "class_mean_recall@5_unseen",
        } <= set(result[space])
    interval = result["class_mean_recall@5_interval"]
    assert interval["low"] <= result["class_mean_recall@5"] <= interval["high"]


def test_embeddings_become_visual_prototypes(run: Path, world: Path) -> None:
    held = torch.load(run / "embeddings.pth", weights_only=True)
    assert max(len(vectors) for vectors in held.values()) <= 3
    path = run / "visual_encodings_epic100.pth"
    means = torch.load(path, weights_only=True)
    assert list(means) == list(range(CLASSES))
    some = next(k for k, vectors in held.items() if vectors)
    torch.testing.assert_close(means[some], torch.tensor(held[some]).mean(dim=0))
    again = recipe(
        world,
        f"data.visual={path}",
        "train.epochs=1",
        f"train.init=[{{path: {run}, parts: [decoder., heads.]}}]",
    )
    stage = stages(again)[0]
    from kinoscope.engine.processes import launch
    from kinoscope.engine.stage import Run

    processes = launch("fp32")
    stage.prepare(Run(processes.device, processes, world))
    model = stage.build_model()
    torch.testing.assert_close(model.prototypes[some].detach(), means[some])
    trained = load(run).network.state_dict()
    torch.testing.assert_close(model.heads["action"].weight.detach(), trained["heads.action.weight"])


def test_no_step_lies_less_than_tau_a_before_its_action(world: Path) -> None:
    ways = (
        "data.tau_a=1",
        "data.tau_a=2.5",
        "data.sample_strategy=random_clip",
        "data.input.read_type=exact_rulstm",
    )
    for more in ways:
        chosen = recipe(world, more).segments
        source = SegmentSource(chosen)
        for windows in (source.train, source.test):
            assert windows is not None
            for row in range(len(windows.segments)):
                sample = source.sample(windows, row, np.random.default_rng(row))
                start = float(windows.segments.start[row])
                assert sample.seconds.max() <= max(start - chosen.tau_a, 0) + 1e-3


def test_the_future_changes_no_earlier_answer(run: Path, world: Path) -> None:
    model = load(run)
    whole = np.load(world / "P04_01.npy")
    changed = whole.copy()
    changed[round(20.0 * 5) :] = 9.0
    np.save(world / "changed.npy", changed)
    own = recipe(world, f"data.input={{kind: features, folders: [{world}], fps: 5}}", "train.epochs=1")
    from kinoscope.anticipation.segment_predict import SegmentModel

    other = SegmentModel(own, model.about)
    times = [3.0, 12.5, 20.0, 30.0]
    first, second = (other.predict(world / name, at=times) for name in ("P04_01.npy", "changed.npy"))
    early = first.time_s <= 20.0
    np.testing.assert_array_equal(first.probability[early], second.probability[early])
    assert np.abs(first.probability[~early] - second.probability[~early]).max() > 1e-6


def test_answers_have_verbs_and_nouns(run: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(run), str(world / "store"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    row = answer["rankings"][20]
    assert row["starts_s"] == pytest.approx(row["time_s"] + 1.0)
    assert len(row["next"]) == 5
    assert len(row["verb"]) == 2
    assert cli.main(["predict", str(run), str(world / "store"), "--at", "12.5", "30", "--json"]) == 0
    assert [row["time_s"] for row in json.loads(capsys.readouterr().out)["rankings"][:2]] == [12.5, 30.0]
    assert sum(p for _, p in row["noun"]) == pytest.approx(1.0, abs=1e-3)


def test_fusion_of_stored_scores(run: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = world / "other"
    chosen = recipe(world, "train.epochs=2", "train.seed=1")
    train_stages(stages(chosen), other, to_yaml(chosen), resume=False, quiet=True)
    assert cli.main(["fuse", f"{run}:2.5", f"{other}:0.5", "--json", "--output", str(world / "fused")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights"] == [2.5, 0.5]
    assert told["segments"] == 12
    assert json.loads((world / "fused" / "evaluation.json").read_text())["top1"] == pytest.approx(
        told["top1"]
    )
    assert cli.main(["fuse", str(run), str(other), "--search", "--json"]) == 0
    searched = json.loads(capsys.readouterr().out)
    alone = json.loads((run / "evaluation.json").read_text())
    assert searched["class_mean_recall@5"] >= min(alone["class_mean_recall@5"], told["class_mean_recall@5"])
    assert "searched" in searched["protocol"]
    assert cli.main(["fuse", f"{run}:x"]) == 1
    assert "weight" in capsys.readouterr().err
    assert cli.main(["fuse", str(world), str(run)]) == 1
    assert "no stored scores" in capsys.readouterr().err


def test_a_test_set_without_labels_gives_a_submission(world: Path) -> None:
    lines = (world / "test.csv").read_text().splitlines()
    unknown = [",".join([*line.split(",")[:4], "-1", "-1", "-1"]) for line in lines]
    (world / "unlabelled.csv").write_text("\n".join(unknown) + "\n")
    chosen = recipe(world, f"data.test=[{world / 'unlabelled.csv'}]", "train.epochs=1", "data.sls=[1, 3, 4]")
    result = train_stages(stages(chosen), world / "submitted", to_yaml(chosen), resume=False, quiet=True)
    assert result["submission"].endswith("submit.zip")
    file = json.loads((world / "submitted" / "test.json").read_text())
    assert file["sls_tl"] == 3
    assert set(file["results"]) == {line.split(",")[0] for line in lines}
    assert file["results"]["P04_01_0"]["action"] == {f"0,{k}": 0.0 for k in range(6)} or all(
        value == 0.0 for value in file["results"]["P04_01_0"]["action"].values()
    )


def test_own_segments_on_a_store_of_extract(tmp_path: Path, world: Path) -> None:
    from kinoscope.media.store import StoreWriter
    from kinoscope.timeline import TimeAxis

    axis = TimeAxis(fps=30.0, stride_frames=6.0, window_frames=6.0)
    with StoreWriter(tmp_path / "store", {"name": "some encoder"}, DIM) as writer:
        for number in range(6):
            name = f"P0{number}_01"
            writer.add(name, [np.load(world / f"{name}.npy")], axis)
    for part in ("train", "test"):
        lines = ["video,start_s,end_s,label"]
        for line in (world / f"{part}.csv").read_text().splitlines():
            _, video, start, end, _, _, action = line.split(",")
            lines.append(f"{video},{int(start) / 30},{int(end) / 30},action {action}")
        lines.append("P00_01,8,3,action 1")
        (tmp_path / f"{part}.csv").write_text("\n".join(lines) + "\n")
    chosen = recipe(
        world,
        "data.dataset=own",
        f"data.train=[{tmp_path / 'train.csv'}]",
        f"data.test=[{tmp_path / 'test.csv'}]",
        "data.actions=null",
        "data.lists=null",
        f"data.input={{kind: features, folders: [{tmp_path / 'store'}]}}",
    )
    result = train_stages(stages(chosen), tmp_path / "run", to_yaml(chosen), resume=False, quiet=True)
    assert result["top1"] > 50
    assert "verb" not in result
    assert len(result["skipped"]) == 2
    told = load(tmp_path / "run").predict(tmp_path / "store", at=[8.0])
    assert len(told) == 6
    assert told.label_names[0] == "action 0"


def test_one_bad_segment_costs_that_segment(world: Path, tmp_path: Path) -> None:
    lines = (world / "test.csv").read_text()
    (tmp_path / "test.csv").write_text(
        lines + "P09_01_0,P09_01,300,400,0,0,0\nP04_01_9,P04_01,what,1,0,0,0\n"
    )
    chosen = recipe(world, f"data.test=[{tmp_path / 'test.csv'}]", "train.epochs=1")
    result = train_stages(stages(chosen), tmp_path / "run", to_yaml(chosen), resume=False, quiet=True)
    why = {row["video"]: row["why"] for row in result["skipped"]}
    assert "no feature of this window" in why["P09_01_0"]
    assert any("row" in name for name in why)
    assert result["segments"] == 12
    assert result["without_observable_frames"] == 3


def test_prototypes_of_other_classes_are_refused(world: Path, tmp_path: Path) -> None:
    torch.save({k: torch.randn(8) for k in range(4)}, tmp_path / "encodings_epic100.pth")
    chosen = recipe(world, f"data.language={tmp_path / 'encodings_epic100.pth'}")
    with pytest.raises(KinoscopeError, match="other classes"):
        train_stages(stages(chosen), tmp_path / "run", to_yaml(chosen), resume=False, quiet=True)


def test_evaluating_with_another_action_list_is_refused(run: Path, world: Path, tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text("".join(ACTIONS.splitlines(keepends=True)[:-1]))
    model = load(run, overrides=(f"data.actions={tmp_path / 'actions.csv'}",))
    with pytest.raises(KinoscopeError, match="action list"):
        model.evaluate(tmp_path / "out")
