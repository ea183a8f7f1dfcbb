"""Find what test rows tell that training rows should not: repeats, answers, later rows, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.splits import Split
from ml.core.table import Table
from ml.health.hashing import Hashes, column_hash, hash_numbers, mix

Rows = NDArray[np.int64]
# Rows this seldom equal by chance, were a table's columns independent, are repeats of each other.
COINCIDENCES = 1e-3
# Test rows below which one column may predict all of them by chance.
LEAST_TESTED = 20
LEAST_OF_CLASS = 3


def share_repeated(table: Table, split: Split) -> float:
    """Return the share of test rows that also stand among the training rows, target included.

    Rows count of which fewer than ``COINCIDENCES`` would be expected again if each column of the
    distinct rows were drawn alone, so that tables of a few coarse columns have their natural
    duplicates.
    """
    columns = [*_columns(table), ("", _codes(table.target))]
    hashes = np.zeros(table.rows, dtype=np.uint64)
    for name, values in columns:
        hashes += column_hash(name, values)
    mixed = mix(hashes)
    _, first, distinct = np.unique(mixed, return_index=True, return_inverse=True)
    chance = np.full(first.size, np.log(first.size))
    for _, values in columns:
        _, place, counts = np.unique(values[first], return_inverse=True, return_counts=True)
        chance += np.log(counts[place] / first.size)
    trained = np.concatenate([split.train, split.validation])
    repeated = np.isin(mixed[split.test], mixed[trained])
    rare = chance[distinct[split.test]] < np.log(COINCIDENCES)
    return float((repeated & rare).mean())


def find_predictors(table: Table, split: Split, least: float) -> list[tuple[str, float]]:
    """Return the columns that alone predict the target's test rows with at least this skill.

    Each test row is given the answer of the training rows with the nearest value, a missing one
    being a value of its own. The skill is the balanced accuracy beyond chance, and for numbers
    the R² of the target's ranks, 1 in both cases where a column tells all. Past values of the
    target are left aside. The best stand first.
    """
    trained = np.sort(np.concatenate([split.train, split.validation]))
    if not _can_be_told(table, split):
        return []
    ranks = None if table.classes else _ranks(table.target)
    found = []
    for name, values in _raw_columns(table):
        if name in table.window:
            continue
        known, place = np.unique(values[trained], return_inverse=True)
        if known.size < 2:
            continue
        near = _nearest(known, values[split.test])
        if ranks is None:
            skill = _class_skill(table, split, trained, place, known.size, near)
        else:
            sums = np.bincount(place, ranks[trained]) / np.bincount(place)
            truth = ranks[split.test]
            spread = float(((truth - truth.mean()) ** 2).sum())
            skill = 1 - float(((truth - sums[near]) ** 2).sum()) / spread if spread else 0.0
        if skill >= least:
            found.append((name, skill))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def count_early(table: Table, split: Split) -> int:
    """Return how many test rows are no newer than the newest row that trains."""
    assert table.time is not None
    trained = np.concatenate([split.train, split.validation])
    return int((table.time[split.test] <= table.time[trained].max()).sum())


def count_shared_groups(table: Table, split: Split) -> int:
    """Return how many groups have rows among the test rows and those that train."""
    assert table.group is not None
    trained = np.concatenate([split.train, split.validation])
    return int(np.intersect1d(table.group[split.test], table.group[trained]).size)


def _can_be_told(table: Table, split: Split) -> bool:
    if split.test.size < LEAST_TESTED:
        return False
    if not table.classes:
        return True
    counts = np.bincount(table.target[split.test].astype(np.int64))
    present = counts[counts > 0]
    return bool(present.size > 1 and present.min() >= LEAST_OF_CLASS)


def _class_skill(
    table: Table, split: Split, trained: Rows, place: Rows, known: int, near: Rows
) -> float:
    votes = np.zeros((known, len(table.classes)), dtype=np.int64)
    np.add.at(votes, (place, table.target[trained].astype(np.int64)), 1)
    predicted = votes.argmax(axis=1)[near]
    truth = table.target[split.test].astype(np.int64)
    right = np.bincount(truth[predicted == truth], minlength=len(table.classes))
    counts = np.bincount(truth, minlength=len(table.classes))
    recall = (right / np.maximum(counts, 1))[counts > 0]
    return float((recall.mean() - 1 / recall.size) / (1 - 1 / recall.size))


def _nearest(known: NDArray[np.float64], values: NDArray[np.float64]) -> Rows:
    above = np.minimum(np.searchsorted(known, values), known.size - 1)
    below = np.maximum(above - 1, 0)
    # Halved, for the distance of huge values may exceed float64.
    lower = np.abs(values / 2 - known[below] / 2) < np.abs(known[above] / 2 - values / 2)
    return np.where(lower, below, above)


def _ranks(target: NDArray[Any]) -> NDArray[np.float64]:
    _, place, counts = np.unique(target, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(middle[place], dtype=np.float64)


def _raw_columns(table: Table) -> list[tuple[str, NDArray[np.float64]]]:
    lowest = np.finfo(np.float64).min
    numeric = [np.where(np.isnan(values), lowest, values) for values in table.numeric.T]
    categorical = [codes.astype(np.float64) for codes in table.categorical.T]
    names = (*table.numeric_names, *table.categorical_names)
    return list(zip(names, [*numeric, *categorical], strict=True))


def _columns(table: Table) -> list[tuple[str, Hashes]]:
    numeric = [hash_numbers(values) for values in table.numeric.T]
    categorical = [_codes(codes) for codes in table.categorical.T]
    names = (*table.numeric_names, *table.categorical_names)
    return list(zip(names, [*numeric, *categorical], strict=True))


def _codes(values: NDArray[Any]) -> Hashes:
    return hash_numbers(values.astype(np.float64))
