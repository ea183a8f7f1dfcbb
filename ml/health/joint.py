"""Compare what columns show together: correlations, information, spectrum, neighbours, repeats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.encoded import NEIGHBOURS, Pair, Scores
from ml.health.families import Family, Values
from ml.health.hashing import Hashes
from ml.health.permute import Labels

# Directions whose spectrum is followed: as many of the widest as of the narrowest.
DIRECTIONS = 24
CHUNK = 2048


def compare_correlations(scores: Scores, labels: Labels) -> list[Family]:
    """Return the families of dependence and spectrum; none of fewer than two columns."""
    width = scores.values.shape[1]
    if width < 2:
        return []
    first, second = _covariances(scores.values, labels)
    upper = np.triu_indices(width, 1)
    names = scores.columns
    apart = np.array([names[i] != names[j] for i, j in zip(*upper, strict=True)])
    pairs = tuple(
        f"{names[i]} × {names[j]}" for i, j in zip(*upper, strict=True) if names[i] != names[j]
    )
    families = []
    left, right = _correlations(first), _correlations(second)
    if pairs:
        one = left[:, upper[0][apart], upper[1][apart]]
        two = right[:, upper[0][apart], upper[1][apart]]
        families.append(Family("dependence", "correlation", np.abs(one - two).T, pairs))
        # Fisher's z gives a change from .95 to .99 its weight.
        gap = np.abs(_fisher(one) - _fisher(two)).T
        families.append(Family("dependence", "fisher", gap, pairs))
        weaker = (one**2).sum(axis=1) - (two**2).sum(axis=1)
        families.append(Family("dependence", "strength", weaker[None, :], ("all",), signed=True))
    return families + _spectrum(scores, first, second)


def _covariances(values: NDArray[np.float32], labels: Labels) -> tuple[Values, Values]:
    whole = (values.T @ values).astype(np.float64)
    sums = values.sum(axis=0, dtype=np.float64)
    permutations, width = labels.shape[1], values.shape[1]
    first = np.empty((permutations, width, width))
    second = np.empty_like(first)
    for column in range(permutations):
        chosen = np.flatnonzero(labels[:, column])
        taken = values[chosen]
        product = (taken.T @ taken).astype(np.float64)
        total = taken.sum(axis=0, dtype=np.float64)
        rest = len(values) - len(chosen)
        first[column] = product / len(chosen) - np.outer(total, total) / len(chosen) ** 2
        total = sums - total
        second[column] = (whole - product) / rest - np.outer(total, total) / rest**2
    return first, second


def _correlations(covariances: Values) -> Values:
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    # What does not vary on a side correlates with nothing there.
    scale = np.where(variances > 1e-9, 1 / np.sqrt(np.maximum(variances, 1e-9)), 0.0)
    return np.clip(covariances * scale[:, :, None] * scale[:, None, :], -1.0, 1.0)


def _fisher(correlations: Values) -> Values:
    return np.arctanh(correlations * 0.999)


def _spectrum(scores: Scores, first: Values, second: Values) -> list[Family]:
    values = scores.values
    _, directions = np.linalg.eigh((values.T @ values).astype(np.float64) / len(values))
    width = directions.shape[1]
    if width > DIRECTIONS:
        half = DIRECTIONS // 2
        directions = np.concatenate([directions[:, :half], directions[:, -half:]], axis=1)
    one, two = (np.linalg.eigvalsh(directions.T @ side @ directions) for side in (first, second))
    one, two = np.maximum(one, 1e-6), np.maximum(two, 1e-6)
    gap = np.sqrt(((np.log(one + 1e-3) - np.log(two + 1e-3)) ** 2).mean(axis=1))
    ranks = [np.log(effective_rank(side)) for side in (one, two)]
    return [
        Family("spectrum", "eigenvalues", gap[None, :], ("all",)),
        Family("spectrum", "rank_loss", (ranks[0] - ranks[1])[None, :], ("all",)),
        Family("spectrum", "rank", np.abs(ranks[0] - ranks[1])[None, :], ("all",)),
    ]


def effective_rank(eigenvalues: Values) -> NDArray[np.float64]:
    """Return the exponential of the entropy of eigenvalues [..., w] (Roy and Vetterli 2007)."""
    shares = eigenvalues / eigenvalues.sum(axis=-1, keepdims=True)
    return np.asarray(np.exp(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)))


def compare_information(pairs: list[Pair], labels: Labels) -> list[Family]:
    """Return the families of information: of each pair of columns, on both sides."""
    if not pairs:
        return []
    firsts = labels.sum(axis=0, dtype=np.float64)
    seconds = len(labels) - firsts
    rows = np.arange(len(labels))
    change, cells = [], []
    for pair in pairs:
        _, codes = np.unique(pair.codes, return_inverse=True)
        hot = np.zeros((int(codes.max()) + 1, len(labels)), dtype=np.float32)
        hot[codes, rows] = 1.0
        taken = (hot @ labels).astype(np.float64)
        total = hot.sum(axis=1, dtype=np.float64)[:, None]
        one, two = taken / firsts, (total - taken) / seconds
        used = np.unique(pair.codes)
        left, right = used // pair.second, used % pair.second
        change.append(np.abs(_mutual(one, left, right) - _mutual(two, left, right)))
        cells.append(np.sqrt(((one - two) ** 2 * (len(labels) / total)).sum(axis=0)))
    names = tuple(pair.name for pair in pairs)
    return [
        Family("information", "mutual", np.stack(change), names),
        Family("information", "cells", np.stack(cells), names),
    ]


def _mutual(shares: Values, left: NDArray[np.int64], right: NDArray[np.int64]) -> Values:
    def information(values: Values) -> Values:
        return np.asarray(-(values * np.log(np.where(values > 0, values, 1.0))).sum(axis=0))

    def summed(places: NDArray[np.int64]) -> Values:
        hot = np.equal.outer(np.arange(int(places.max()) + 1), places).astype(np.float64)
        return hot @ shares

    return information(summed(left)) + information(summed(right)) - information(shares)


def compare_neighbours(neighbours: NDArray[np.int64], labels: Labels) -> list[Family]:
    """Return the families of coverage: who the nearest neighbours of each side's rows are.

    ``mixing`` is Schilling's statistic (1986); ``recall`` and ``precision`` the share of one
    side's rows with no row of the other among their neighbours (after Naeem et al. 2020).
    """
    first = labels.astype(np.float32)
    near = np.zeros_like(first)
    for place in range(NEIGHBOURS):
        near += first[neighbours[:, place]]
    sizes = first.sum(axis=0, dtype=np.float64)
    others = len(labels) - sizes
    own = (first * near).sum(axis=0, dtype=np.float64)
    foreign = ((1 - first) * (NEIGHBOURS - near)).sum(axis=0, dtype=np.float64)
    lone = (first * (near == NEIGHBOURS)).sum(axis=0, dtype=np.float64) / sizes
    new = ((1 - first) * (near == 0)).sum(axis=0, dtype=np.float64) / others
    mixing = (own / sizes + foreign / others) / (2 * NEIGHBOURS)
    # A side that is denser has neighbours of its own kind more often.
    denser = (foreign / others - own / sizes) / NEIGHBOURS
    return [
        Family("coverage", "mixing", mixing[None, :], ("all",)),
        Family("coverage", "recall", lone[None, :], ("all",)),
        Family("coverage", "precision", new[None, :], ("all",)),
        Family("coverage", "density", denser[None, :], ("all",), signed=True),
    ]


def compare_repeats(hashes: Hashes, labels: Labels) -> list[Family]:
    """Return the families of uniqueness: rows repeated on one side, and copied between both."""
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    several = counts[place] > 1
    first = labels.sum(axis=0, dtype=np.float64)
    second = len(labels) - first
    if several.any():
        _, place = np.unique(hashes[several], return_inverse=True)
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(int(place.max()) + 1))
        chosen = labels[several][order].astype(np.float64)
        left = np.add.reduceat(chosen, starts, axis=0)
        right = np.add.reduceat(1.0 - chosen, starts, axis=0)
        extra = np.maximum(right - 1, 0).sum(axis=0) / second
        extra -= np.maximum(left - 1, 0).sum(axis=0) / first
        copied = (right * (left > 0)).sum(axis=0) / second
    else:
        extra = copied = np.zeros(labels.shape[1])
    return [
        Family("uniqueness", "duplicates", extra[None, :], ("all",)),
        Family("uniqueness", "copies", copied[None, :], ("all",)),
    ]
