"""Measure the peak resident memory of one piece of work, not of its process' whole life."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"

_idle_bytes: int | None = None
_earlier_bytes = 0


def give_back() -> None:
    """Give back what earlier work in this process has left unused: it would count as the next's.

    That takes as long as there are objects to look through, so that it is for processes of ours.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # Only the C library of GNU has it.
        ctypes.CDLL(None).malloc_trim(0)


def mark_idle() -> None:
    """Take what this process holds now for what it holds before any work."""
    global _idle_bytes
    _idle_bytes = _status_bytes("VmRSS")


def discount_earlier() -> None:
    """Leave out of the next peaks what earlier work still holds, now that the next begins.

    Such are compiled functions and an allocator's caches. Where ``mark_idle`` was never called,
    as in a process that is not ours, nothing is left out.
    """
    global _earlier_bytes
    if _idle_bytes is not None:
        _earlier_bytes = max(_status_bytes("VmRSS") - _idle_bytes, 0)


def reset_peak() -> None:
    """Start a new peak where the kernel can (Linux); elsewhere the process' own peak stays."""
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)


def peak_bytes() -> int:
    """Return the highest resident memory in bytes since the last ``reset_peak``.

    It has what the process held before any work, and not what was discounted.
    """
    peak = _status_bytes("VmHWM")
    if not peak:
        scale = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return peak - _earlier_bytes


def _status_bytes(name: str) -> int:
    """Return a figure of the kernel's about this process, 0 where it tells none."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
