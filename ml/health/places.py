"""Place rows in a space of their columns, and find the nearest ones of other rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.core.seeding import stream
from ml.health.encoded import normal_scores
from ml.health.hashing import Hashes
from ml.health.pool import Pool, bin_codes

# The most dimensions in which distances are taken; of more, so many random directions.
WIDTH = 128
LEVELS = 20
NEAREST = 5
CHUNK = 1024
# How far beyond the reference a number may lie, in standard deviations.
FARTHEST = 30.0


@dataclass(frozen=True)
class Places:
    """Hold rows as float32 [n, w] with the column of each dimension, and [n, WIDTH at most]."""

    values: NDArray[np.float32]
    columns: tuple[str, ...]
    near: NDArray[np.float32]


def place_rows(pool: Pool, seed: int) -> Places:
    """Return pooled rows by their numbers' normal scores and their categories' indicators.

    A number's score is that of its rank among the reference's; beyond these it goes on in
    standard deviations. Two rows that differ in one category are one standard deviation apart.
    Distances in more than WIDTH dimensions are nearly kept by random directions (Johnson and
    Lindenstrauss 1984).
    """
    found, names = [], []
    for column, values in zip(pool.layout.measured, pool.numbers, strict=True):
        found.append(_scores(values, pool.reference, column.scale))
        names.append(column.name)
        missing = np.isnan(values)
        if missing.any():
            found.append(missing.astype(np.float64))
            names.append(column.name)
    for column, codes in zip(pool.layout.coded, pool.codes, strict=True):
        binned = bin_codes(column.name, codes, LEVELS)
        for level in np.unique(binned.codes):
            found.append((binned.codes == level) * 0.5**0.5)
            names.append(column.name)
    matrix = np.stack(found, axis=1) if found else np.zeros((pool.rows, 0))
    values = np.ascontiguousarray(matrix, dtype=np.float32)
    if values.shape[1] <= WIDTH:
        return Places(values, tuple(names), values)
    directions = stream(seed, "health", "places").standard_normal((values.shape[1], WIDTH))
    return Places(values, tuple(names), values @ (directions / WIDTH**0.5).astype(np.float32))


def _scores(values: NDArray[np.float64], first: int, scale: float) -> NDArray[np.float64]:
    scores = np.zeros(len(values))
    known = np.sort(values[:first][~np.isnan(values[:first])])
    if len(known) < 2:
        return scores
    inside = ~np.isnan(values)
    distinct, place = np.unique(known, return_index=True)
    scores[inside] = np.interp(values[inside], distinct, normal_scores(known)[place])
    beyond = np.fmax(values - known[-1], 0.0) - np.fmax(known[0] - values, 0.0)
    far = np.clip(np.nan_to_num(beyond) / scale, -FARTHEST, FARTHEST)
    return np.asarray(scores + far)


def nearest_rows(
    near: NDArray[np.float32], rows: slice, among: slice, groups: Hashes | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return each row's distances to its NEAREST rows among others, and their numbers, [n, k].

    A row is not its own neighbour, nor with ``groups`` is one of its own group. Where there are
    too few, the farther ones are infinitely far.
    """
    left, right = near[rows], near[among]
    squares = (right * right).sum(axis=1)
    distances = np.full((len(left), NEAREST), np.inf, dtype=np.float32)
    found = np.zeros((len(left), NEAREST), dtype=np.int64)
    most = min(NEAREST, len(right))
    for start in range(0, len(left), CHUNK):
        part = left[start : start + CHUNK]
        gaps = part @ right.T
        gaps *= -2.0
        gaps += squares
        gaps += (part * part).sum(axis=1)[:, None]
        if groups is not None:
            own = groups[rows][start : start + CHUNK]
            gaps[own[:, None] == groups[among][None, :]] = np.inf
        if rows == among:
            at = np.arange(len(part))
            gaps[at, start + at] = np.inf
        close = np.argpartition(gaps, most - 1, axis=1)[:, :most]
        shortest = np.take_along_axis(gaps, close, axis=1)
        order = np.argsort(shortest, axis=1, kind="stable")
        shortest = np.take_along_axis(shortest, order, axis=1)
        close = np.take_along_axis(close, order, axis=1)
        distances[start : start + len(part), :most] = np.sqrt(np.maximum(shortest, 0.0))
        found[start : start + len(part), :most] = close + (among.start or 0)
    return distances, found
