"""What the C library does with memory that tensors on the processor give back.

glibc hands large pieces back to the system at once, or never, by limits that move while a program runs. Every piece
that comes anew is filled with zeros page by page: in a training step of small tensors that is a tenth of the time.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MIB = 2**20


def tune_allocator(spare: bool) -> bool:
    """Freed tensors stay with the process for the next step; with `spare` they go back to the system at once.

    False where the C library is not glibc, and nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_limit = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_limit is None:
        return False
    limits = {MMAP_THRESHOLD: MIB} if spare else {MMAP_THRESHOLD: 32 * MIB, TRIM_THRESHOLD: 1024 * MIB}
    return all(set_limit(name, value) == 1 for name, value in limits.items())
