"""Sketch what the first updates compute, so that frameworks can be compared by few numbers."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import ParityTrace
from ml.core.learner import Floats64
from ml.core.seeding import stream
from ml.core.splits import Split

SKETCH_SIZE = 32


def sketch(values: NDArray[Any]) -> Floats64:
    """Return at most 32 numbers that keep Euclidean distances, float64.

    More values are projected on 32 random directions of signs, equal for equal lengths
    (Achlioptas 2003, Database-friendly random projections). The relative difference of two
    sketches is then that of the values to within about a third, nineteen times in twenty.
    """
    flat = values.astype(np.float64).ravel()
    if flat.size <= SKETCH_SIZE:
        return flat
    return np.asarray(_signs(flat.size) @ flat / math.sqrt(SKETCH_SIZE))


def make_trace(rungs: dict[str, NDArray[Any]], split: Split) -> ParityTrace:
    """Return the trace of a learner's ``trace``; a rung that is not finite ends it."""
    digest = hashlib.sha256(split.sha256.encode())
    digest.update(np.ascontiguousarray(rungs["rows"], np.int64).tobytes())
    kept: dict[str, tuple[float, ...]] = {}
    sizes: dict[str, int] = {}
    for name, values in rungs.items():
        if name == "rows":
            continue
        if not np.isfinite(values).all():
            break
        kept[name] = tuple(sketch(values).tolist())
        sizes[name] = values.size
    return ParityTrace(rows_sha256=digest.hexdigest(), rungs=kept, sizes=sizes)


@lru_cache(maxsize=16)
def _signs(size: int) -> NDArray[np.int8]:
    bits = stream(0, "parity", size).integers(0, 2, (SKETCH_SIZE, size), np.int8)
    return 2 * bits - 1
