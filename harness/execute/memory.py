"""Tell the memory that a machine has, that processes hold, and whether the kernel ran out of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MEBIBYTE = 1024**2
_SHARE = 0.8
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# Stacks of threads and reserves of allocators count as data without being resident.
_RESERVED = 1024 * MEBIBYTE
_RESERVED_PER_CORE = 32 * MEBIBYTE


def settle_limit(mebibytes: float | None) -> int:
    """Return a cell's limit in bytes: what was asked, else four fifths of the machine's memory.

    In a container that has less, its memory is the machine's.
    """
    if mebibytes is not None:
        return int(mebibytes * MEBIBYTE)
    total = int(psutil.virtual_memory().total)
    for path in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # Absent, or the word "max".
            total = min(total, int(path.read_text()))
    return int(total * _SHARE)


def data_limit(limit: int) -> int | None:
    """Return what a worker's data segment may be for a limit of resident memory, both in bytes.

    It lies above that limit and stops an allocation that could never fit before it begins. None
    where drivers of a GPU reserve addresses far beyond any memory.
    """
    if Path("/proc/driver/nvidia").exists():
        return None
    return limit + _RESERVED + _RESERVED_PER_CORE * (os.cpu_count() or 1)


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of processes in bytes; what they share counts for each."""
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            total += int(psutil.Process(pid).memory_info().rss)
    return total


def own_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of processes in bytes, what they share counted once.

    It is exact and slow, milliseconds for a gibibyte; where the kernel does not tell it, it is
    that of ``resident_bytes``.
    """
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            memory = psutil.Process(pid).memory_full_info()
            total += int(getattr(memory, "pss", 0) or memory.rss)
    return total


def count_kernel_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 where not told."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
