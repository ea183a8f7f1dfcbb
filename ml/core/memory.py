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


def give_back() -> None:
    """Give back what earlier work in this process has left unused: it would count as the next's.

    That takes as long as there are objects to look through, so that it is for processes of ours.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # Only the C library of GNU has it.
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Start a new peak where the kernel can (Linux); elsewhere the process' own peak stays."""
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)


def peak_bytes() -> int:
    """Return the highest resident memory in bytes since the last ``reset_peak``."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
