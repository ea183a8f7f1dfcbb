"""Time a fixed piece of work beside a cell, so that its timings can be told from the machine's."""

from __future__ import annotations

import statistics
import time

import numpy as np

BURSTS = 8
_SIDE = 96
_VALUES = 65_536
_TURNS = 3_000


class Calibration:
    """Collect timings of the kernel: bursts of the kinds of work of which training consists.

    A burst multiplies small matrices, gathers and transforms an array that fits no first-level
    cache, and runs interpreted code, about a third of its time each; it takes a fraction of a
    millisecond. A machine that is slowed down, by its clock or by neighbours, slows cell and
    kernel alike.
    """

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self._matrix = draw.normal(size=(_SIDE, _SIDE)).astype(np.float32)
        self._values = draw.normal(size=_VALUES).astype(np.float32)
        self._order = draw.permutation(_VALUES)
        self._seconds: list[float] = []
        self._burst()  # The first one finds nothing in the caches.

    def measure(self) -> None:
        """Run a few bursts; call it before the work and after."""
        for _ in range(BURSTS):
            started = time.perf_counter()
            self._burst()
            self._seconds.append(time.perf_counter() - started)

    def seconds(self) -> float:
        """Return the median seconds of a burst; raises StatisticsError where none was measured."""
        return statistics.median(self._seconds)

    def _burst(self) -> None:
        for _ in range(8):
            self._matrix @ self._matrix
        np.tanh(self._values[self._order])
        total = 0
        for turn in range(_TURNS):
            total += turn & 7
