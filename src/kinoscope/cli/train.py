"""`kinoscope train RECIPE`: every stage of a recipe, or one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "train every stage of a recipe, or one"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="published name or YAML file; `kinoscope recipes` lists the names")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.epochs=10")
    parser.add_argument("--stage", help="train only this stage")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")
    parser.add_argument(
        "--resume-official",
        type=Path,
        metavar="CHECKPOINT",
        help="go on with a run of the official program: weights, averages, optimiser and epoch",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the run folder (default: runs/RECIPE/TIME)"
    )
    parser.add_argument(
        "--slurm",
        action="append",
        metavar="KEY=VALUE",
        help="submit the run as a job: partition=gpu, nodes=2, gpus_per_node=8, time=600 (minutes), ...; "
        "cluster=local: on this machine, in the background",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.folder import new_folder, train_stages
    from kinoscope.errors import KinoscopeError
    from kinoscope.recipe import to_yaml
    from kinoscope.tasks import load_recipe, room

    if options.resume and options.output is None:
        raise KinoscopeError(
            "which run should go on?", field="--output", remedy="name the run folder with --output DIR"
        )
    settings = load_recipe(options.recipe, options.overrides)
    folder = options.output or new_folder(options.recipe)
    if options.slurm:
        return _submitted(options, folder)
    stages = room(settings.task, "stages").stages(settings)
    final = train_stages(
        stages,
        folder,
        to_yaml(settings),
        resume=options.resume,
        only=options.stage,
        quiet=options.quiet,
        official=options.resume_official,
    )
    _part_from_the_others()
    print(f"run folder: {folder}", file=sys.stderr)
    if not options.json:
        for name, value in final.items():
            if isinstance(value, int | float):
                print(f"{name}: {value:.4f}")
    return {"run": str(folder), **final}


def _submitted(options: argparse.Namespace, folder: Path) -> Any:
    from kinoscope.engine.cluster import submit

    more = ["--quiet"] if options.quiet else []
    if options.stage:
        more += ["--stage", options.stage]
    if options.resume_official:
        more += ["--resume-official", str(options.resume_official.resolve())]
    job = submit([options.recipe, *options.overrides, *more], folder, options.slurm)
    print(f"job {job.job_id}, run folder: {folder}, its output: {job.paths.stderr}", file=sys.stderr)
    return {"run": str(folder), "job": job.job_id}


def _part_from_the_others() -> None:
    """Closes the connections to the other processes of a finished run; none goes while another still talks to it."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
