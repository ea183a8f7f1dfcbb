"""Find rows that repeat one another: wholly, and nearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.hashing import Hashes
from ml.health.layout import Layout
from ml.health.prepared import Rows
from ml.health.sketch import Sketch

# Rows of each side that are compared each with each.
NEAR_ROWS = 4000
# How near numbers of near-duplicates lie, in standard deviations of the reference, and the share
# of words that their texts have in common at least (Jaccard 1912).
NEAR = 0.05
WORDS = 0.9
CHUNK = 250


def repeated_share(sketch: Sketch) -> float:
    """Return the share of rows that repeat an earlier one, of all rows or of the sampled ones.

    The sketch counts repeats of the rows with the smallest hashes, so that of however large a
    table no repeat of these is missed.
    """
    repeats = sketch.repeats
    if not len(repeats):
        _, repeats = np.unique(sketch.sample.hashes, return_counts=True)
    return float((repeats - 1).sum() / max(1, repeats.sum()))


def near_share(layout: Layout, rows: Rows) -> float:
    """Return the share of rows that another row nearly, and not wholly, equals.

    Near is a row with the same categories and gaps, every number within NEAR standard deviations
    of the reference, and texts that have WORDS of their words in common.
    """
    number = len(rows.hashes)
    scales = np.array([column.scale for column in layout.measured])[:, None]
    texts = {column.name for column in layout.texts}
    lengths = np.array([column.name in texts for column in layout.measured], dtype=bool)
    numbers = (rows.numbers / scales)[~lengths]
    words = np.unpackbits(rows.tokens, axis=2).astype(bool)
    # Few rows share a value of a column with many distinct ones, which is so compared first.
    order = np.argsort([-len(np.unique(values)) for values in numbers], kind="stable")
    near: NDArray[np.bool_] = np.zeros(number, dtype=bool)
    for start in range(0, number, CHUNK):
        left, right = _candidates(rows.codes, start, number)
        left, right = _other_rows(rows.hashes, left, right)
        for values in numbers[order]:
            left, right = _close(values, left, right)
        for present in words:
            left, right = _alike(present, left, right)
        near[left] = True
    return float(near.mean()) if number else 0.0


def _candidates(
    codes: NDArray[np.uint64], start: int, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    part = np.arange(start, min(start + CHUNK, number))
    same = np.ones((len(part), number), dtype=bool)
    for values in codes:
        same &= values[part][:, None] == values[None, :]
    left, right = np.nonzero(same)
    return part[left], right


def _other_rows(
    hashes: Hashes, left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept = hashes[left] != hashes[right]
    return left[kept], right[kept]


def _close(
    values: NDArray[np.float64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, two = values[left], values[right]
    with np.errstate(invalid="ignore"):
        kept = (np.abs(one - two) <= NEAR) | (np.isnan(one) & np.isnan(two)) | (one == two)
    return left[kept], right[kept]


def _alike(
    present: NDArray[np.bool_], left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    both = (present[left] & present[right]).sum(axis=1)
    either = (present[left] | present[right]).sum(axis=1)
    kept = both >= WORDS * either
    return left[kept], right[kept]
