"""What all benchmarks share: options, medians, peak memory, one JSON object on standard output.

A room's benchmark is a dict of operations and one call:

    def thumos_forward() -> Work:
        model, x = ...                  # the preparation is not timed
        return lambda: model(x)         # the work is

    if __name__ == "__main__":
        main({"thumos_i3d/inference_network": thumos_forward}, __doc__)

Prepared operations are dropped one by one, so that memory of one does not count for the next; `peak_rss_mb`
is the largest of the whole process (`--only OPERATION` gives that of one).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]
Operations = Mapping[str, Callable[[], Work]]


def median_seconds(work: Work, repeats: int, budget_s: float = 60.0) -> float:
    """Median wall time of `work` after one unmeasured call; fewer repeats once `budget_s` is spent."""
    start = time.perf_counter()
    work()
    seconds = []
    while len(seconds) < repeats and (not seconds or time.perf_counter() - start < budget_s):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MiB (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine_gflops(threads: int) -> float:
    """Rate of a plain float32 matrix product (1024 x 1024 x 1024), in Gflop/s: the machine's own measure."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / median_seconds(lambda: a @ b, 9) / 1e9


def main(operations: Operations, description: str | None = None, argv: list[str] | None = None) -> None:
    """Runs the chosen operations and prints {operation: median seconds, ..., peak_rss_mb, threads}."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each operation (default 5)")
    parser.add_argument("--only", metavar="OPERATION,...", help="these operations alone")
    options = parser.parse_args(argv)
    names = options.only.split(",") if options.only else list(operations)
    if unknown := [name for name in names if name not in operations]:
        parser.error(f"no operation {', '.join(unknown)}; there are: {', '.join(operations)}")

    import torch

    torch.set_num_threads(options.threads)
    result: dict[str, float] = {}
    for name in names:
        work = operations[name]()
        result[name] = median_seconds(work, options.repeats)
        print(f"{name}: {result[name]:.4g} s", file=sys.stderr)
        del work
        gc.collect()
    result["peak_rss_mb"] = round(peak_rss_mb(), 1)
    result["machine_gflops"] = round(machine_gflops(options.threads), 1)
    result["threads"] = options.threads
    print(json.dumps(result))
