from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.toy import ToySamples, ToyStage, settings

from kinoscope.engine import checkpoint
from kinoscope.engine.folder import train_stages
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError

TOY = Path(__file__).with_name("toy.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TOY.parents[1]), "OMP_NUM_THREADS": "1"}


def run(folder: Path, *overrides: str, **options: object) -> ToyStage:
    stage = ToyStage(settings(*overrides), **options)  # type: ignore[arg-type]
    train_stages([stage], folder, "toy", resume=False, quiet=True)
    return stage


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.newest(folder / "checkpoints" / "toy")
    assert state is not None
    flat = {f"{part}.{name}": value for part in ("model", "average") for name, value in state[part].items()}
    moments = state["optimizer"]["state"]
    flat |= {f"{i}.{name}": torch.as_tensor(v) for i, entry in moments.items() for name, v in entry.items()}
    return flat | {"normaliser": torch.tensor(state["stage"]["normaliser"])}


def assert_same_bits(one: Path, other: Path) -> None:
    a, b = final_state(one), final_state(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_weights_metrics_and_environment(tmp_path: Path) -> None:
    run(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["event"] for line in lines} == {"train", "validation", "final"}
    assert [line["step"] for line in lines if line["event"] == "train"] == list(range(1, 16))
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert load_weights(find_weights(tmp_path / "run")).about["stage"] == "toy"
    assert len(list((tmp_path / "run" / "checkpoints" / "toy").iterdir())) == 2


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    seen = run(tmp_path / "run", "epochs=40", "optimizer.learning_rate=0.1").seen
    assert np.mean(seen[-6:]) < 0.5 * np.mean(seen[:6])


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "none")
    run(tmp_path / "two", "workers=2")
    assert_same_bits(tmp_path / "none", tmp_path / "two")


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    """With a plain sum over a fixed normaliser, two half batches move the weights as one whole batch does."""

    class Plain(ToyStage):
        def step(self, model, batch, run):  # type: ignore[no-untyped-def]
            x, y = batch
            return {"loss": (model(x)[:, 0] - y).square().mean()}

    for name, overrides in {"whole": ["batch_size=4"], "parts": ["batch_size=2", "accumulate=2"]}.items():
        stage = Plain(settings(*overrides, "epochs=2"), dropout=0.0)
        train_stages([stage], tmp_path / name, "toy", resume=False, quiet=True)
    whole, parts = final_state(tmp_path / "whole"), final_state(tmp_path / "parts")
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-4, atol=1e-5)


def test_the_remainder_of_an_epoch_is_a_step_of_its_own(tmp_path: Path) -> None:
    run(tmp_path / "run", "batch_size=4", "accumulate=2", "epochs=1", "schedule.warmup_epochs=0")
    state = checkpoint.newest(tmp_path / "run" / "checkpoints" / "toy")
    assert state is not None
    assert state["position"] == {"step": 2, "micro_step": 3, "epoch": 1}


def test_a_sample_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    stage = ToyStage(settings(), bad=3)
    assert train_stages([stage], tmp_path / "run", "toy", resume=False, quiet=True)["skipped"] == 1


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with pytest.raises(KinoscopeError, match="already holds a run"):
        run(tmp_path / "run")
    with pytest.raises(KinoscopeError, match="other settings"):
        train_stages([ToyStage(settings())], tmp_path / "run", "another", resume=True, quiet=True)


def test_data_that_cannot_be_read_leaves_no_run(tmp_path: Path) -> None:
    class Broken(ToyStage):
        def samples(self) -> ToySamples:
            raise KinoscopeError("there is no such file", file="missing.npz")

    with pytest.raises(KinoscopeError, match=r"missing\.npz"):
        train_stages([Broken(settings())], tmp_path / "run", "toy", resume=False, quiet=True)
    assert not (tmp_path / "run").exists()
    run(tmp_path / "run")  # the mended command needs no other folder


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="no longer finite"):
        run(tmp_path / "run", "optimizer.learning_rate=1e30", "optimizer.kind=sgd", "clip_norm=0")


def test_a_budget_in_minutes_ends_the_run(tmp_path: Path) -> None:
    started = time.monotonic()
    run(tmp_path / "run", "minutes=0.02", "epochs=100000", "validate_every=1000", "checkpoint_every=1000")
    assert time.monotonic() - started < 30
    state = checkpoint.newest(tmp_path / "run" / "checkpoints" / "toy")
    assert state is not None
    assert state["elapsed_s"] >= 1.2


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "toy"
    older, newest = sorted(folder.iterdir())
    content = bytearray((newest / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "state.pt").write_bytes(content)
    with pytest.raises(KinoscopeError, match="checksum"):
        checkpoint.load(newest)
    state = checkpoint.newest(folder)
    assert state is not None
    assert state["position"]["step"] == int(older.name.split("_")[1])


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(TOY), str(folder), *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE)


def wait_for_steps(folder: Path, steps: int, process: subprocess.Popen[bytes]) -> None:
    log = folder / "metrics.jsonl"
    for _ in range(1200):
        if log.exists() and log.read_text().count('"train"') >= steps:
            return
        assert process.poll() is None, "ended too early"
        time.sleep(0.05)
    raise AssertionError("no progress in a minute")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    folder = tmp_path / "killed"
    picker = np.random.default_rng()
    for steps in sorted(picker.choice(np.arange(1, 13), 3, replace=False)):
        process = start(folder, "pause_s=0.15", "--resume")
        wait_for_steps(folder, int(steps), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(folder, "--resume").wait() == 0
    assert_same_bits(tmp_path / "whole", folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "train"] == list(range(1, 16))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder, "pause_s=0.15", "checkpoint_every=1000")
    wait_for_steps(folder, 2, process)
    process.send_signal(number)
    process.wait(60)
    assert checkpoint.newest(folder / "checkpoints" / "toy") is not None
    assert start(folder, "checkpoint_every=1000", "--resume").wait() == 0
    run(tmp_path / "whole", "checkpoint_every=1000")
    assert_same_bits(tmp_path / "whole", folder)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    run(tmp_path / "one", dropout=0.0)
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29581"]
    done = subprocess.run(
        [sys.executable, *command, str(TOY), str(tmp_path / "two"), "dropout=0"],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert sum('"train"' in line for line in lines) == 15, "the processes did not find each other"
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_ends_with_the_best_or_the_last_weights(keep: str, tmp_path: Path) -> None:
    class Worse(ToyStage):
        def validate(self, model, run):  # type: ignore[no-untyped-def]
            return {"error": float(run.position.step)}

    stage = Worse(settings(f"keep={keep}"))
    train_stages([stage], tmp_path / "run", "toy", resume=False, quiet=True)
    kept = load_weights(find_weights(tmp_path / "run")).about["step"]
    assert kept == (6 if keep == "best" else 15)
