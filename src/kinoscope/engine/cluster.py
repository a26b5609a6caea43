"""Training as a job of SLURM, or of this machine's processes, through submitit.

A job that is told that its time is nearly up (SIGUSR2) saves after the step in hand, asks SLURM to run it again and
goes on from there; a job that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinoscope.errors import Interrupted, KinoscopeError

KINDS = ("slurm", "local")


@dataclass(frozen=True)
class TrainingJob:
    """What a process of the job runs: `kinoscope train` with these arguments, as one of the job's processes."""

    arguments: tuple[str, ...]  # recipe and overrides, stage
    folder: str

    def __call__(self) -> int:
        """The exit status. The run in `folder` is gone on with where there is one."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        from kinoscope import cli

        job = JobEnvironment()
        if job.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        command = ["train", *self.arguments, "--output", self.folder]
        if (Path(self.folder) / "recipe.yaml").exists():
            command.append("--resume")
        try:
            return cli.main(command, interrupts=True)
        except Interrupted as stopped:
            print(f"kinoscope: {stopped}", file=sys.stderr)
            if job.global_rank == 0 and "SLURM_JOB_ID" in os.environ:
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
            return 1


def parameters(pairs: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Kind of cluster, and submitit's parameters, of `key=value` words; whole numbers become numbers.

    >>> parameters(["partition=gpu", "gpus_per_node=8", "time=600"])
    ('slurm', {'slurm_partition': 'gpu', 'gpus_per_node': 8, 'timeout_min': 600})
    """
    shared = {"nodes", "gpus_per_node", "tasks_per_node", "cpus_per_task", "mem_gb", "timeout_min", "name"}
    kind, chosen = "slurm", {}
    for pair in pairs:
        key, told, value = pair.partition("=")
        if not told:
            raise KinoscopeError(
                "a parameter of the job has no value", field="--slurm", value=pair, remedy="write key=value"
            )
        key = {"time": "timeout_min"}.get(key, key)
        if key == "cluster":
            kind = value
        else:
            name = key if key in shared else f"slurm_{key.removeprefix('slurm_')}"
            chosen[name] = int(value) if value.isdigit() else value
    if kind not in KINDS:
        raise KinoscopeError("no such cluster", field="--slurm cluster", value=kind, remedy=f"one of {KINDS}")
    return kind, chosen


def submit(arguments: Sequence[str], folder: Path, pairs: Sequence[str]) -> Any:
    """Submits a training run into `folder`; submitit's job. One process a GPU where no other number is given."""
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise KinoscopeError(
            "jobs of a cluster need submitit", field="--slurm", remedy="pip install 'kinoscope[slurm]'"
        ) from error

    kind, chosen = parameters(pairs)
    if "gpus_per_node" in chosen:
        chosen.setdefault("tasks_per_node", max(chosen["gpus_per_node"], 1))
    try:
        executor = AutoExecutor(folder=folder / "jobs", cluster=kind)
        executor.update_parameters(**{"name": "kinoscope", **chosen})
        return executor.submit(TrainingJob(tuple(arguments), str(folder.resolve())))
    except (
        RuntimeError,
        NameError,
        TypeError,
        ValueError,
    ) as error:  # submitit's words for a wrong parameter
        raise KinoscopeError(
            f"the job cannot be submitted: {error}", field="--slurm", value=list(pairs)
        ) from error
