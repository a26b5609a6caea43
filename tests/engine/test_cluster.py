from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kinoscope import cli
from kinoscope.engine.cluster import TrainingJob, parameters
from kinoscope.errors import Interrupted, KinoscopeError

pytest.importorskip("submitit", reason="jobs of a cluster need submitit")

RECIPE = "localization/actionformer_streams"
TINY = [
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=1",
    "train.schedule.warmup_epochs=0",
]


def test_words_become_parameters() -> None:
    kind, chosen = parameters(["cluster=local", "tasks_per_node=2", "slurm_qos=high", "account=me"])
    assert kind == "local"
    assert chosen == {"tasks_per_node": 2, "slurm_qos": "high", "slurm_account": "me"}


@pytest.mark.parametrize("word", ["partition", "cluster=cloud"])
def test_wrong_words_are_told(word: str) -> None:
    with pytest.raises(KinoscopeError, match="slurm"):
        parameters([word])


def test_a_job_of_two_processes_trains_in_the_background(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "run"
    command = ["train", RECIPE, *TINY, "--output", str(folder), "--slurm", "cluster=local"]
    assert cli.main([*command, "--slurm", "tasks_per_node=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(folder)
    for _ in range(1200):
        if (folder / "evaluation.json").exists():
            break
        time.sleep(0.1)
    assert json.loads((folder / "evaluation.json").read_text())["mAP"]
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2


def test_a_job_whose_time_is_up_asks_to_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    scontrol.chmod(0o755)
    environment = {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "17",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
    }
    for name, value in {**environment, "PATH": f"{tmp_path}:/usr/bin:/bin"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "recipe.yaml").touch()
    commands = []

    def stopped(command: list[str], interrupts: bool) -> int:
        commands.append(command)
        raise Interrupted("stopped")

    monkeypatch.setattr(cli, "main", stopped)
    assert TrainingJob((RECIPE,), str(tmp_path))() == 1
    assert commands == [["train", RECIPE, "--output", str(tmp_path), "--resume"]]
    assert asked.read_text() == "requeue 17\n"


def test_without_a_cluster_one_sentence_says_so(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["train", RECIPE, "--output", str(tmp_path / "run"), "--slurm", "partition=gpu"]) == 1
    assert "cannot be submitted" in capsys.readouterr().err
