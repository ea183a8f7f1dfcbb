"""Permute which row is whose: single rows, or whole groups of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.hashing import Hashes

Labels = NDArray[np.float32]
PERMUTATIONS = 199


def permute_rows(reference: int, candidate: int, draw: np.random.Generator) -> Labels:
    """Return float32 [n, 1 + PERMUTATIONS]: 1 for the reference's rows; column 0 is the truth."""
    labels = np.zeros((reference + candidate, 1 + PERMUTATIONS), dtype=np.float32)
    labels[:reference, 0] = 1.0
    for column in range(1, 1 + PERMUTATIONS):
        labels[draw.permutation(reference + candidate)[:reference], column] = 1.0
    return labels


def permute_groups(groups: Hashes, reference: int, draw: np.random.Generator) -> Labels:
    """Return labels like those of ``permute_rows`` that keep each group's rows together.

    A group that has rows on one side goes to a side as a whole, as many groups to each side as
    there are. A group on both sides has its rows permuted within itself.
    """
    rows = len(groups)
    side = np.zeros(rows)
    side[:reference] = 1.0
    names, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=side) / sizes
    single = np.flatnonzero((share == 0) | (share == 1))
    first = int((share[single] == 1).sum())
    labels = np.zeros((rows, 1 + PERMUTATIONS), dtype=np.float32)
    labels[:, 0] = side
    mixed = np.flatnonzero(~np.isin(place, single))
    counts = np.bincount(place, weights=side).astype(np.int64)
    starts = np.cumsum(np.bincount(place[mixed], minlength=len(names)))
    starts -= np.bincount(place[mixed], minlength=len(names))
    for column in range(1, 1 + PERMUTATIONS):
        of_group = np.zeros(len(names), dtype=np.float32)
        of_group[draw.permutation(single)[:first]] = 1.0
        labels[:, column] = of_group[place]
        if len(mixed):
            order = np.lexsort((draw.random(len(mixed)), place[mixed]))
            rank = np.empty(len(mixed), dtype=np.int64)
            rank[order] = np.arange(len(mixed))
            within = rank - starts[place[mixed]]
            labels[mixed, column] = within < counts[place[mixed]]
    return labels


def assignments(groups: Hashes, reference: int) -> float:
    """Return how many ways there are to part the groups between the sides, as a logarithm."""
    from math import lgamma

    left, right = set(groups[:reference].tolist()), set(groups[reference:].tolist())
    if left & right:
        return float("inf")
    return lgamma(len(left) + len(right) + 1) - lgamma(len(left) + 1) - lgamma(len(right) + 1)
