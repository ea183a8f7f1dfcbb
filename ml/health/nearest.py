"""Find for each row the reference's row that is nearest to it in the columns that are sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.cells import Cells, Column

MOST_DONORS = 2000
MOST_LEVELS = 20
CHUNK = 2048


def nearest_donors(cells: Cells, donors: Cells, columns: list[str]) -> NDArray[np.int64]:
    """Return the index of the nearest of the first MOST_DONORS donors, int64 [rows].

    Numbers are measured in the donors' standard deviations and bounded at three of them, the
    most frequent categories as one indicator each; what is missing lies at the mean.
    """
    giving = min(donors.rows, MOST_DONORS)
    pairs = [
        _encoded(cells.columns[name], donors.columns[name][:giving])
        for name in columns
        if name in donors.columns
    ]
    if not pairs:
        return np.arange(cells.rows, dtype=np.int64) % giving
    rows, among = (np.concatenate([pair[side] for pair in pairs], axis=1) for side in (0, 1))
    lengths = (among * among).sum(axis=1)
    found = np.empty(cells.rows, dtype=np.int64)
    for start in range(0, cells.rows, CHUNK):
        part = rows[start : start + CHUNK]
        found[start : start + CHUNK] = np.argmin(lengths - 2 * part @ among.T, axis=1)
    return found


def _encoded(values: Column, donors: Column) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if values.dtype == object:
        known = [value for value in donors if value is not None]
        levels, counts = np.unique(np.array(known, dtype=object), return_counts=True)
        kept = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
        first, second = (
            np.stack([side == level for level in kept], axis=1).astype(np.float32) * 0.7
            if len(kept)
            else np.zeros((len(side), 0), np.float32)
            for side in (values, donors)
        )
        return first, second
    finite = donors[np.isfinite(donors)]
    center, scale = (float(finite.mean()), float(finite.std())) if len(finite) else (0.0, 0.0)
    one, two = (
        np.nan_to_num(np.clip((side - center) / (scale or 1.0), -3.0, 3.0)).astype(np.float32)
        for side in (values, donors)
    )
    return one[:, None], two[:, None]
