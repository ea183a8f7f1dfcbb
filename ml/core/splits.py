"""Choose rows: the sample that fits the budget, and the parts of each replicate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import SampleInfo
from ml.core.errors import DataInvalid
from ml.core.seeding import stream
from ml.core.table import Table

Rows = NDArray[np.int64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Hold the row indices of one replicate, int64, ascending, without overlap."""

    train: Rows
    validation: Rows
    test: Rows

    @property
    def sha256(self) -> str:
        """Return the hash over the three parts, each with its name and length."""
        digest = hashlib.sha256()
        for name in ("train", "validation", "test"):
            rows = getattr(self, name)
            digest.update(f"{name}:{rows.size}:".encode())
            digest.update(_little_endian(rows))
        return digest.hexdigest()


def sample_rows(table: Table, limit: int, seed: int) -> tuple[Rows, SampleInfo]:
    """Choose at most ``limit`` rows of a table; return their ascending indices and the record.

    All rows are taken if they fit. Else the split rule ``time`` takes the newest rows; ``given``
    takes the first test rows, half of the limit at most, and the first of the others, so that
    tables whose test rows are the same are tested on the same ones; and the
    other rules take a seeded random sample: plain for values, and for classes one that holds each
    class's share within rounding and keeps at least two rows of a class that has them (one,
    where it has one). Raises DataInvalid where ``limit`` has no room for that.
    """
    if table.rows <= limit:
        return _sample(table, "all", np.arange(table.rows, dtype=np.int64))
    if table.split.rule == "time":
        newest = np.argsort(_time(table), kind="stable")[table.rows - limit :]
        return _sample(table, "newest", np.sort(newest))
    if table.split.rule == "given":
        tested = np.flatnonzero(_group(table))[: max(1, limit // 2)]
        others = np.flatnonzero(_group(table) == 0)[: limit - tested.size]
        return _sample(table, "first", np.sort(np.concatenate([tested, others])))
    rng = stream(seed, "sample")
    if not table.classes:
        chosen = rng.permutation(table.rows)[:limit]
        return _sample(table, "random", np.sort(chosen))
    strata = _strata(table)
    counts = np.bincount(strata, minlength=len(table.classes))
    least = np.minimum(counts, 2)
    if least.sum() > limit:
        raise DataInvalid(
            f"dataset {table.id}: {limit} rows cannot hold two rows of each class",
            code="budget_too_small",
            field="budget.rows",
            expected=f"at least {least.sum()} rows for {np.count_nonzero(counts)} classes",
            received=f"{limit} of {table.rows} rows",
            remedy="raise budget.rows, or merge the rare classes",
        )
    taken = _draw(strata, _apportion(counts, limit, least, counts), rng)
    return _sample(table, "random", np.flatnonzero(taken))


def split_rows(table: Table, seed: int, replicate: int, validation: bool = True) -> Split:
    """Part a table's rows into train, validation and test by its split rule.

    The test rows depend on the table, the seed and the replicate only, and not on
    ``validation``, which takes its rows from those left for training.

    ``random`` draws anew for each (seed, replicate), by class in a classification: a class
    with one row trains, each class with more has a row in test, and none is tested that does
    not train. ``time`` is a rolling origin without any draw: the window is the run of newest
    periods whose rows come nearest to the test fraction, replicate r's ends r half windows
    before the end, train is all before it and validation the newest part of train; rows of one
    period are never parted. ``group`` draws whole groups until no further one brings the rows
    nearer to the fraction. ``given`` tests the same rows in every replicate.

    Validation is empty where the training rows are too few, or their groups or periods too
    large, to come nearer to its fraction than none does. Raises DataInvalid where train and
    test cannot both have a row.
    """
    rule = table.split
    test = _TEST_BY_RULE[rule.rule](table, seed, replicate)
    train = np.flatnonzero(~test)
    if rule.rule == "time":
        # What is newer than the window belongs to other replicates and must not train this one.
        time = _time(table)
        train = train[time[train] < time[test].min()]
    held = np.zeros(train.size, dtype=bool)
    wanted = round(train.size * rule.validation_fraction)
    if validation and wanted:
        part = table.take(train)
        rng = stream(seed, "split", replicate, "validation")
        if rule.rule == "time":
            periods, counts = np.unique(_time(part), return_counts=True)
            newest = _nearest_newest(counts[1:], wanted)
            held = np.isin(_time(part), periods[periods.size - newest :])
        elif rule.rule == "group":
            held = _draw_groups(_group(part), wanted, rng, at_least_one=False)
        else:
            held = _draw_random(part, wanted, rng, each_class=False)
    return Split(train=train[~held], validation=train[held], test=np.flatnonzero(test))


def _test_random(table: Table, seed: int, replicate: int) -> NDArray[np.bool_]:
    strata = _strata(table)
    if np.bincount(strata, minlength=1).max() < 2:
        _refuse(
            table,
            expected="at least 2 rows" + (" of one class" if table.classes else ""),
            remedy="add rows, or merge classes that have one row each"
            if table.classes
            else "add rows",
        )
    wanted = max(1, round(table.rows * table.split.test_fraction))
    return _draw_random(table, wanted, stream(seed, "split", replicate, "test"), each_class=True)


def _test_time(table: Table, seed: int, replicate: int) -> NDArray[np.bool_]:
    time = _time(table)
    periods, counts = np.unique(time, return_counts=True)
    if periods.size < 2:
        _refuse(
            table,
            expected="at least 2 distinct time values",
            received=f"{periods.size} in {table.rows} rows",
            remedy=f"add rows of other periods, or split by another rule than {table.split.rule!r}",
        )
    wanted = round(table.rows * table.split.test_fraction)
    window = max(1, _nearest_newest(counts[1:], wanted))
    # At least one whole period, so that no two replicates test the same window.
    step = (window + 1) // 2
    end = periods.size - replicate * step
    start = end - window
    if start < 1:
        fit = (periods.size - 1 - window) // step + 1
        _refuse(
            table,
            expected=f"at most {fit} replicates for {periods.size} distinct time values "
            f"and a window of {window}",
            received=f"{replicate + 1} or more",
            remedy="ask for fewer replicates, or lower split.test_fraction",
        )
    inside: NDArray[np.bool_] = (time >= periods[start]) & (time <= periods[end - 1])
    return inside


def _test_group(table: Table, seed: int, replicate: int) -> NDArray[np.bool_]:
    group = _group(table)
    if np.unique(group).size < 2:
        _refuse(
            table,
            expected="at least 2 groups",
            received=f"{np.unique(group).size} in {table.rows} rows",
            remedy=f"add rows of other groups, or split by another column than "
            f"{table.split.column!r}",
        )
    wanted = round(table.rows * table.split.test_fraction)
    rng = stream(seed, "split", replicate, "test")
    return _draw_groups(group, wanted, rng, at_least_one=True)


def _test_given(table: Table, seed: int, replicate: int) -> NDArray[np.bool_]:
    test: NDArray[np.bool_] = _group(table) == 1
    if test.all() or not test.any():
        _refuse(
            table,
            expected="rows to train on and rows to test on",
            received="test rows only" if test.all() else "no test rows",
            remedy=f"write both 'train' and 'test' in the column {table.split.column!r}",
        )
    return test


_TEST_BY_RULE = {
    "random": _test_random,
    "time": _test_time,
    "group": _test_group,
    "given": _test_given,
}


def _draw_random(
    table: Table, wanted: int, rng: np.random.Generator, each_class: bool
) -> NDArray[np.bool_]:
    strata = _strata(table)
    counts = np.bincount(strata)
    most = np.maximum(counts - 1, 0)
    least = np.minimum(most, 1 if each_class else 0)
    return _draw(strata, _apportion(counts, wanted, least, most), rng)


def _draw(strata: Rows, quota: Counts, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark ``quota[s]`` random rows of each stratum s."""
    shuffled = rng.permutation(strata.size)
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    counts = np.bincount(strata, minlength=quota.size)
    rank = np.arange(strata.size) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(strata.size, dtype=bool)
    taken[order[rank < np.repeat(quota, counts)]] = True
    return taken


def _apportion(counts: Counts, total: int, least: Counts, most: Counts) -> Counts:
    """Share ``total`` among strata by size with the largest remainders, within the bounds."""
    total = int(np.clip(total, least.sum(), most.sum()))
    ideal = counts * (total / counts.sum())
    quota: Counts = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while (gap := total - int(quota.sum())) != 0:
        # One row each for the strata furthest from their share, until the total is met.
        step = 1 if gap > 0 else -1
        free = quota < most if gap > 0 else quota > least
        distance = np.where(free, (ideal - quota) * step, -np.inf)
        furthest = np.argsort(-distance, kind="stable")[: min(abs(gap), np.count_nonzero(free))]
        quota[furthest] += step
    return quota


def _draw_groups(
    group: Rows, wanted: int, rng: np.random.Generator, at_least_one: bool
) -> NDArray[np.bool_]:
    _, member, sizes = np.unique(group, return_inverse=True, return_counts=True)
    chosen = np.zeros(sizes.size, dtype=bool)
    total = 0
    order = rng.permutation(sizes.size)
    for index in order:
        size = int(sizes[index])
        nearer = abs(total + size - wanted) < abs(total - wanted)
        if nearer and total + size < group.size:
            chosen[index] = True
            total += size
    if at_least_one and not total:
        chosen[order[np.argmin(sizes[order])]] = True
    taken: NDArray[np.bool_] = chosen[member]
    return taken


def _nearest_newest(counts: Counts, wanted: int) -> int:
    """Return how many of the newest periods hold the number of rows nearest to ``wanted``."""
    totals = np.concatenate(([0], np.cumsum(counts[::-1])))
    return int(np.argmin(np.abs(totals - wanted)))


def _strata(table: Table) -> Rows:
    strata: Rows = (
        table.target.astype(np.int64) if table.classes else np.zeros(table.rows, np.int64)
    )
    return strata


def _time(table: Table) -> Rows:
    return _present(table, table.time)


def _group(table: Table) -> Rows:
    return _present(table, table.group)


def _present(table: Table, column: NDArray[np.int64] | None) -> Rows:
    if column is None:
        _refuse(
            table,
            expected=f"a column for the rule {table.split.rule!r}",
            received="none",
            remedy="name it in split.column",
        )
    return column


def _refuse(table: Table, *, expected: str, remedy: str, received: str | None = None) -> NoReturn:
    raise DataInvalid(
        f"dataset {table.id}: {table.rows} rows cannot be parted by the rule "
        f"{table.split.rule!r} with test_fraction {table.split.test_fraction}",
        code="too_few_rows",
        field="split",
        expected=expected,
        received=received or f"{table.rows} rows",
        remedy=remedy,
    )


def _sample(
    table: Table, method: Literal["all", "random", "newest", "first"], rows: Rows
) -> tuple[Rows, SampleInfo]:
    digest = hashlib.sha256(_little_endian(rows)).hexdigest()
    return rows, SampleInfo(
        method=method, rows=rows.size, rows_total=table.rows, rows_sha256=digest
    )


def _little_endian(rows: Rows) -> bytes:
    return np.ascontiguousarray(rows, dtype="<i8").tobytes()
