"""Memory of freed tensors: handed back at once where it is to be spared."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import torch
from kinoscope.engine.memory import tune_allocator
if not tune_allocator(spare={spare}):
    print("other")
    raise SystemExit
def held():
    return int(open("/proc/self/statm").read().split()[1]) // 256
before = held()
pieces = [torch.zeros(2 * 2**20 // 4) for _ in range(100)]
last = torch.zeros(2 * 2**20 // 4)  # freed memory below it cannot shrink a heap
del pieces
print(held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("spare", [True, False])
def test_freed_tensors(spare):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(spare=spare)], capture_output=True, text=True, check=True
    )
    if run.stdout.strip() == "other":
        return
    assert (int(run.stdout) < 20) == spare
