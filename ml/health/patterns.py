"""Find what the reference has and the candidate lost: levels, and combinations of two columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, lgamma

import numpy as np
from numpy.typing import NDArray

from ml.health.diversity_report import LostPattern
from ml.health.hashing import MISSING
from ml.health.layout import ColumnLayout
from ml.health.prepared import Rows
from ml.health.sketch import Sketch

# The chance that any pattern is called lost where nothing was.
LEVEL = 0.05
PAIRED = 40
QUINTILES = (0.2, 0.4, 0.6, 0.8)
# Fewer distinct numbers than this are levels.
FEW = 9


@dataclass(frozen=True)
class Cells:
    """Hold a column's levels: the code of each row, reference first, and each level's name."""

    column: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Counted:
    """Hold a pattern: its columns and levels, and how many rows of both samples have it."""

    columns: tuple[str, ...]
    values: tuple[str, ...]
    reference: int
    candidate: int
    rows: tuple[int, int]


def lost_patterns(
    reference: Sketch, candidate: Sketch, first: Rows, second: Rows
) -> list[LostPattern]:
    """Return the patterns that the candidate significantly lost, most expected first.

    Categories are counted in both whole tables, fifths of numbers and combinations in their
    sampled rows. A combination of a level that is lost itself is none. Together they keep LEVEL
    by Bonferroni's rule over the patterns frequent enough to be significant (Tarone 1990).
    """
    levels = _levels(reference, candidate)
    gone = {(each.columns[0], each.values[0]) for each in levels if not each.candidate}
    cells = _cells(reference, first, second)
    rows = len(first.hashes), len(second.hashes)
    numeric = {column.name for column in reference.layout.measured}
    fifths = _fifths([each for each in cells if each.column in numeric], rows)
    return _significant(levels + fifths + _pairs(cells, gone, rows))


def _levels(reference: Sketch, candidate: Sketch) -> list[Counted]:
    found = []
    for place, column in enumerate(reference.layout.coded):
        # A level may be among those that a counter dropped.
        if candidate.dropped[place]:
            continue
        names = _names(reference, column)
        for level, count in reference.counters[place].items():
            if level != int(MISSING):
                other = candidate.counters[place].get(level, 0)
                rows = (reference.rows, candidate.rows)
                name = names.get(level, f"#{level:016x}")
                found.append(Counted((column.name,), (name,), count, other, rows))
    return found


def _names(sketch: Sketch, column: ColumnLayout) -> dict[int, str]:
    return {code: label for label, code in sketch.labels.get(column.name, {}).items()}


def _cells(sketch: Sketch, first: Rows, second: Rows) -> list[Cells]:
    found = []
    for place, column in enumerate(sketch.layout.measured):
        if column.kind == "numeric":
            values = np.concatenate([first.numbers[place], second.numbers[place]])
            found.append(_cut(column.name, values, len(first.hashes)))
    for place, column in enumerate(sketch.layout.coded):
        codes = np.concatenate([first.codes[place], second.codes[place]])
        levels, where = np.unique(codes, return_inverse=True)
        names = _names(sketch, column) | {int(MISSING): "missing"}
        texts = tuple(names.get(level, f"#{level:016x}") for level in levels.tolist())
        found.append(Cells(column.name, where.astype(np.int64), texts))
    found = [cells for cells in found if len(cells.names) > 1]
    if len(found) > PAIRED:
        order = np.argsort([-_varied(cells, len(first.hashes)) for cells in found], kind="stable")
        found = [found[place] for place in np.sort(order[:PAIRED])]
    return found


def _varied(cells: Cells, rows: int) -> float:
    counts = np.bincount(cells.codes[:rows])
    shares = counts[counts > 0] / max(1, rows)
    return float(-(shares * np.log(shares)).sum())


def _cut(name: str, values: NDArray[np.float64], rows: int) -> Cells:
    """Cut numbers at the reference's quintiles; few distinct ones are a level each."""
    missing = np.isnan(values)
    known = values[:rows][~missing[:rows]]
    distinct = np.unique(known)
    if len(distinct) < FEW:
        distinct = np.unique(values[~missing])
        codes = np.searchsorted(distinct, values)
        names = [f"{value:.6g}" for value in distinct]
    else:
        edges = np.unique(np.quantile(known, QUINTILES))
        codes = np.searchsorted(edges, values, side="right")
        ends = [f"{edge:.6g}" for edge in edges]
        middle = [f"{low} to {high}" for low, high in pairwise(ends)]
        names = [f"below {ends[0]}", *middle, f"from {ends[-1]}"]
    codes = np.where(missing, len(names), codes)
    return Cells(name, codes.astype(np.int64), (*names, "missing"))


def _fifths(cells: list[Cells], rows: tuple[int, int]) -> list[Counted]:
    found = []
    for each in cells:
        # The last level is that of missing values, of which fewer are no loss.
        known = len(each.names) - 1
        first = np.bincount(each.codes[: rows[0]], minlength=known + 1)
        second = np.bincount(each.codes[rows[0] :], minlength=known + 1)
        found += [
            Counted(
                (each.column,), (each.names[place],), int(first[place]), int(second[place]), rows
            )
            for place in range(known)
            if first[place]
        ]
    return found


def _pairs(cells: list[Cells], gone: set[tuple[str, str]], rows: tuple[int, int]) -> list[Counted]:
    found = []
    least = next((count for count in range(1, sum(rows)) if _chance(count, rows) <= LEVEL), 0)
    for place, one in enumerate(cells):
        for two in cells[place + 1 :]:
            width = len(two.names)
            codes = one.codes * width + two.codes
            first, counts = np.unique(codes[: rows[0]], return_counts=True)
            there, others = np.unique(codes[rows[0] :], return_counts=True)
            known = dict(zip(there.tolist(), others.tolist(), strict=True))
            alive = [set(np.unique(side.codes[rows[0] :]).tolist()) for side in (one, two)]
            for code, count in zip(first.tolist(), counts.tolist(), strict=True):
                left, right = divmod(code, width)
                # A pattern that is this rare can never be significant.
                if count + known.get(code, 0) < least:
                    continue
                if left not in alive[0] or right not in alive[1]:
                    continue
                names = (one.names[left], two.names[right])
                if (one.column, names[0]) in gone or (two.column, names[1]) in gone:
                    continue
                found.append(
                    Counted((one.column, two.column), names, count, known.get(code, 0), rows)
                )
    return found


def _significant(patterns: list[Counted]) -> list[LostPattern]:
    least = np.sort([_chance(each.reference + each.candidate, each.rows) for each in patterns])
    tries = np.arange(1, len(least) + 1)
    within = np.searchsorted(least, LEVEL / tries, side="right") <= tries
    bound = LEVEL / tries[int(np.argmax(within))] if len(least) else 0.0
    found = []
    for each in patterns:
        p = _chance(each.reference, each.rows)
        if each.candidate or p > bound:
            continue
        share = each.reference / each.rows[0]
        found.append(
            LostPattern(
                columns=each.columns,
                values=each.values,
                share=share,
                expected=share * each.rows[1],
                p=p,
            )
        )
    return sorted(found, key=lambda each: (-each.expected, each.columns, each.values))


def _chance(count: int, rows: tuple[int, int]) -> float:
    """Return the chance that all of so many rows fall on the reference's side."""
    first, second = rows
    if count > first:
        return 1.0
    total = first + second
    logarithm = (
        lgamma(first + 1)
        - lgamma(first - count + 1)
        - lgamma(total + 1)
        + lgamma(total - count + 1)
    )
    return exp(min(0.0, logarithm))
