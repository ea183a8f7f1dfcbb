"""Compare the columns one by one, for all permutations at once: by matrix products of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.health.families import Family, Values
from ml.health.permute import Labels
from ml.health.pool import Binned

# Bins whose values lie this far out in both tails together are tails.
TAIL = 0.051
FAR = 0.0101
FARTHEST = 0.0051
CHUNK = 2048


@dataclass(frozen=True)
class Shares:
    """Hold the share of rows in each bin, [bins, permutations], of each side; pooled, [bins]."""

    reference: Values
    candidate: Values
    pooled: NDArray[np.float64]


def count_bins(columns: list[Binned], labels: Labels) -> list[Shares]:
    """Return the shares of every column's bins on both sides, for every permutation."""
    first = labels.sum(axis=0, dtype=np.float64)
    second = len(labels) - first
    found: list[Shares] = []
    waiting: list[Binned] = []

    def settle() -> None:
        hot = np.zeros((sum(column.bins for column in waiting), len(labels)), dtype=np.float32)
        start, rows = 0, np.arange(len(labels))
        for column in waiting:
            hot[start + column.codes, rows] = 1.0
            start += column.bins
        counts = (hot @ labels).astype(np.float64)
        totals = hot.sum(axis=1, dtype=np.float64)[:, None]
        start = 0
        for column in waiting:
            part = slice(start, start + column.bins)
            total = totals[part]
            found.append(
                Shares(
                    counts[part] / first, (total - counts[part]) / second, total[:, 0] / rows.size
                )
            )
            start += column.bins
        waiting.clear()

    for column in columns:
        waiting.append(column)
        if sum(one.bins for one in waiting) > CHUNK:
            settle()
    if waiting:
        settle()
    return found


def compare_columns(
    measured: list[Binned], numbers: list[Shares], coded: list[Binned], categories: list[Shares]
) -> list[Family]:
    """Return the families of distribution, composition and diversity."""
    if not measured + coded:
        return []
    families = _compare_numbers(measured, numbers) if measured else []
    families += _compare_shares(measured + coded, numbers + categories)
    return families + _compare_diversity(measured, numbers, coded, categories)


def _compare_numbers(columns: list[Binned], shares: list[Shares]) -> list[Family]:
    names = tuple(column.name for column in columns)
    found: dict[str, list[NDArray[np.float64]]] = {
        key: [] for key in ("ks", "w1", "cvm", "mean", "tails", "far", "farthest")
    }
    for column, share in zip(columns, shares, strict=True):
        centers = _centers(column)
        first, second = _known(share.reference), _known(share.candidate)
        gaps = np.cumsum(first - second, axis=0)
        found["ks"].append(np.abs(gaps).max(axis=0))
        found["w1"].append(np.diff(centers) @ np.abs(gaps[:-1]))
        found["cvm"].append(share.pooled[:-1] @ gaps**2)
        found["mean"].append(centers @ (second - first))
        for key, most in (("tails", TAIL), ("far", FAR), ("farthest", FARTHEST)):
            outer = tail_bins(share, most)
            found[key].append(second[outer].sum(axis=0) - first[outer].sum(axis=0))
    stacked = {key: np.stack(values) for key, values in found.items()}
    return [
        Family("distribution", "ks", stacked["ks"], names),
        Family("distribution", "w1", stacked["w1"], names),
        Family("distribution", "cvm", np.sqrt(stacked["cvm"]), names),
        Family("distribution", "mean", np.abs(stacked["mean"]), names),
        Family("distribution", "tails", stacked["tails"], names, signed=True),
        Family("distribution", "far", stacked["far"], names, signed=True),
        Family("distribution", "farthest", stacked["farthest"], names, signed=True),
    ]


def _centers(column: Binned) -> NDArray[np.float64]:
    return column.centers if column.centers is not None else np.zeros(column.bins - 1)


def _known(shares: Values) -> Values:
    """Return the shares among the known values; where none is known, none has a share."""
    known = shares[:-1].sum(axis=0)
    return shares[:-1] / np.where(known > 0, known, 1.0)


def tail_bins(shares: Shares, most: float) -> NDArray[np.bool_]:
    """Return the known bins that lie in the tails: in both, at most this share of both sides."""
    pooled = shares.pooled[:-1] / (shares.pooled[:-1].sum() or 1.0)
    up = np.cumsum(pooled)
    down = np.cumsum(pooled[::-1])[::-1]
    return np.asarray(np.minimum(up, down) <= most / 2)


def _compare_shares(columns: list[Binned], shares: list[Shares]) -> list[Family]:
    names = tuple(column.name for column in columns)
    chi, variation, missing, single = [], [], [], []
    single_names: list[str] = []
    for column, share in zip(columns, shares, strict=True):
        gap = share.reference - share.candidate
        gap = gap[share.pooled > 0]
        chi.append(np.sqrt((1 / share.pooled[share.pooled > 0]) @ gap**2))
        variation.append(np.abs(gap).sum(axis=0) / 2)
        missing.append(share.candidate[-1] - share.reference[-1])
        if column.centers is None:
            single.append(np.abs(gap))
            single_names += [column.name] * len(gap)
    families = [
        Family("composition", "chi2", np.stack(chi), names),
        Family("composition", "tv", np.stack(variation), names),
        Family("composition", "missing", np.stack(missing), names, signed=True),
    ]
    if single:
        families.append(
            Family("composition", "levels", np.concatenate(single), tuple(single_names))
        )
    return families


def compare_words(tokens: NDArray[np.bool_], names: list[str], labels: Labels) -> list[Family]:
    """Return the family of texts' words: how many texts have a word of each bucket.

    ``tokens`` is bool [texts, n, buckets].
    """
    first = labels.sum(axis=0, dtype=np.float64)
    values, columns = [], []
    for name, present in zip(names, tokens, strict=True):
        hot = present[:, present.any(axis=0)].T.astype(np.float32)
        counts = (hot @ labels).astype(np.float64)
        rest = hot.sum(axis=1, dtype=np.float64)[:, None] - counts
        values.append(np.abs(counts / first - rest / (len(labels) - first)))
        columns += [name] * len(hot)
    if not columns:
        return []
    return [Family("composition", "words", np.concatenate(values), tuple(columns))]


def entropy(shares: Values) -> NDArray[np.float64]:
    """Return Shannon's entropy in nats of each column of shares."""
    return np.asarray(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=0))


def _compare_diversity(
    measured: list[Binned], numbers: list[Shares], coded: list[Binned], categories: list[Shares]
) -> list[Family]:
    names = tuple(column.name for column in measured + coded)
    losses = [entropy(s.reference) - entropy(s.candidate) for s in numbers + categories]
    families = [Family("diversity", "entropy", np.stack(losses), names)]
    if measured:
        spread, tails, ordered = [], [], tuple(column.name for column in measured)
        for column, share in zip(measured, numbers, strict=True):
            first, second = _known(share.reference), _known(share.candidate)
            spread.append(0.5 * (_variance(column, first) - _variance(column, second)))
            outer = tail_bins(share, TAIL)
            tails.append(first[outer].sum(axis=0) - second[outer].sum(axis=0))
        families.append(Family("diversity", "spread", np.stack(spread), ordered))
        families.append(Family("diversity", "tails", np.stack(tails), ordered))
    if coded:
        lost, rare = [], []
        for share in categories:
            gone = (share.candidate[:-1] == 0) * share.reference[:-1]
            new = (share.reference[:-1] == 0) * share.candidate[:-1]
            lost.append(gone.sum(axis=0) - new.sum(axis=0))
            few = share.pooled[:-1] < 0.05
            rare.append((share.reference - share.candidate)[:-1][few].sum(axis=0))
        ordered = tuple(column.name for column in coded)
        families.append(Family("diversity", "lost_levels", np.stack(lost), ordered))
        families.append(Family("diversity", "rare_levels", np.stack(rare), ordered))
    return families


def _variance(column: Binned, shares: Values) -> NDArray[np.float64]:
    """Return the logarithm of the variance of a column's bins' centers."""
    centers = _centers(column)
    mean = centers @ shares
    return np.asarray(np.log(np.maximum(centers**2 @ shares - mean**2, 0.0) + 1e-6))
