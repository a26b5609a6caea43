"""Several processes: the same losses and the same result as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "localization/actionformer_streams",
    "data.test_subjects=[p07]",
    "data.warp=0",
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5, droppath: 0}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=1",
    "train.schedule.warmup_epochs=0",
    "train.log_every=1",
]


def train(folder: Path, launcher: list[str], *more: str) -> tuple[list[float], dict[str, float]]:
    command = [
        sys.executable,
        *launcher,
        "kinoscope",
        "train",
        *TINY,
        *more,
        "--output",
        str(folder),
        "--quiet",
    ]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "evaluation.json").read_text())
    return [line["loss"] for line in lines if line["event"] == "train"], result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("port", "more"),
    [
        (29583, ()),
        # 10 batches of 4: three steps of three batches, and the remainder
        (29584, ("model.kind=tbtformer", "train.batch_size=4", "train.accumulate=3")),
    ],
)
def test_two_processes_equal_one(tmp_path: Path, port: int, more: tuple[str, ...]) -> None:
    one_losses, one = train(tmp_path / "one", ["-m"], *more)
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}", "-m"]
    two_losses, two = train(tmp_path / "two", launcher, *more)
    assert len(one_losses) == (4 if more else 21)
    assert two_losses == pytest.approx(one_losses, rel=1e-3 if more else 1e-5)
    assert two["average_mAP"] == pytest.approx(one["average_mAP"], abs=1e-3)
    events = [json.loads((tmp_path / n / "predictions.json").read_text())["events"] for n in ("one", "two")]
    assert events[0].keys() == events[1].keys()
    for video, rows in events[0].items():  # every video was predicted once, and alike
        best = [max(row[3] for row in found) for found in (rows, events[1][video])]
        assert best[0] == pytest.approx(best[1], abs=1e-3)
        assert len(rows) == pytest.approx(len(events[1][video]), abs=2)
