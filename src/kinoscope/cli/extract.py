"""`kinoscope extract ENCODER INPUT...`: features of videos with their time axis, into a feature store."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HELP = "turn videos into features with their time axis"
PRESETS = ("i3d", "tsp", "slowfast")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "encoder",
        help="lite0, pose, a network of torchvision, timm or transformers (r2plus1d_18, timm/resnet50, "
        "transformers/videomae), or the folder of a model trained here",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="videos, or folders of videos")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the feature store")
    parser.add_argument(
        "--weights", metavar="FILE", help="weights file, or `published` to download the library's"
    )
    parser.add_argument("--preset", choices=PRESETS, help="window, stride and rate of published features")
    parser.add_argument(
        "--window", type=int, help="frames of a step (default: 16 for video networks, else 1)"
    )
    parser.add_argument("--stride", type=int, help="frames from step to step (default: the window)")
    parser.add_argument(
        "--fps", type=float, help="frames a second to look at (default: the video's own rate)"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--batch", type=int, help="pictures (default 16) or clips (default 2) at once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=1, help="that share the videos (default: %(default)s)"
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="this process takes every N-th video from the I-th on, I from 0 (default: the SLURM array's)",
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope import encoders, extractor
    from kinoscope.encoders.folder import extract_all
    from kinoscope.errors import KinoscopeError
    from kinoscope.media.video_files import named_videos

    videos = named_videos(options.inputs)
    shard = read_shard(options.shard)
    usual = (
        encoders.Sampling(window=16, stride=16)
        if extractor.takes_clips(options.encoder)
        else encoders.Sampling()
    )
    base = encoders.PRESETS[options.preset] if options.preset else usual
    window = base.window if options.window is None else options.window
    follows = options.window is not None and options.preset is None
    given = {
        "window": window,
        "stride": options.stride if options.stride is not None else window if follows else base.stride,
        "fps": base.fps if options.fps is None else options.fps,
    }
    for name, value in {**given, "batch": options.batch, "processes": options.processes}.items():
        if value is not None and not 0 < value < float("inf"):
            raise KinoscopeError("a positive number is needed", field=f"--{name}", value=value)
    sampling = encoders.Sampling(**given)
    if options.processes > 1:
        return run_several(options)
    encoder = extractor.open_encoder(
        options.encoder, options.weights, window=sampling.window, device=options.device
    )
    summary = extract_all(
        encoder,
        sampling,
        videos,
        options.output,
        dtype=options.dtype,
        shard=shard,
        batch=options.batch,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    result = {"store": str(options.output), **summary.to_dict()}
    finish(result, shard[1])
    if not options.json:
        print(options.output)
    return result


def run_several(options: argparse.Namespace) -> dict[str, Any]:
    """The same command in several processes, each with its share of the videos (of this place in a SLURM array)."""
    from kinoscope.errors import KinoscopeError

    count = options.processes
    number, shards = read_shard(options.shard)
    command = [sys.executable, "-m", "kinoscope", "extract", options.encoder, *options.inputs, "--json"]
    for name in ("output", "weights", "preset", "window", "stride", "fps", "dtype", "batch", "device"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name}", str(value)]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)), **os.environ}
    begin = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, "--shard", f"{number * count + k}/{shards * count}"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for k in range(count)
    ]
    answers = [process.communicate()[0] for process in running]
    broken = sum(process.returncode != 0 for process in running)
    if broken:  # each has said why on standard error; what is done stays done
        raise KinoscopeError(
            f"{broken} of {count} processes failed",
            file=options.output,
            remedy="mend it and give the command again",
        )
    results = [json.loads(answer) for answer in answers]
    total: dict[str, Any] = {"store": str(options.output), "seconds": time.perf_counter() - begin}
    for name in ("videos", "skipped", "steps", "frames", "video_s"):
        total[name] = sum(result[name] for result in results)
    for name in ("failed", "problems"):
        total[name] = {key: value for result in results for key, value in result[name].items()}
    total["frames_per_s"] = round(total["frames"] / total["seconds"], 2)
    finish(total, shards)
    return total


def finish(result: dict[str, Any], shards: int) -> None:
    """The last line, or the refusal where nothing could be read."""
    from kinoscope.errors import KinoscopeError

    if shards == 1 and result["failed"] and not result["videos"] and not result["skipped"]:
        raise KinoscopeError("not one video could be read", value=list(result["failed"]))
    print(
        f"{result['videos']} videos ({result['skipped']} were there, {len(result['failed'])} left out): "
        f"{result['steps']} steps; {result['frames_per_s']} frames/s with decoding",
        file=sys.stderr,
    )


def read_shard(text: str | None) -> tuple[int, int]:
    """`I/N` as (I, N); without it the place in a SLURM array; without that (0, 1)."""
    from kinoscope.errors import KinoscopeError

    if text is None:
        task, count = os.environ.get("SLURM_ARRAY_TASK_ID"), os.environ.get("SLURM_ARRAY_TASK_COUNT")
        if task is None or count is None:
            return 0, 1
        text = f"{int(task) - int(os.environ.get('SLURM_ARRAY_TASK_MIN', '0'))}/{count}"
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise KinoscopeError(
            "a shard is I/N with I from 0 to N - 1", field="--shard", value=text, remedy="for example 0/4"
        )
    return int(number), int(count)
