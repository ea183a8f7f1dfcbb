"""Scan whole tables for what a sample cannot show: repeated and copied rows, impossible cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.health.batches import open_source
from ml.health.columns import BUCKETS
from ml.health.files import Reread
from ml.health.hashing import Hashes
from ml.health.layout import Layout
from ml.health.prepared import Preparer, Rows, join_rows, no_rows
from ml.health.sketch import Sketch
from ml.health.stored import is_stored
from ml.health.surprise import Columns, Surprises

# Rows whose hashes and scores are kept; of more, those with the smallest hashes.
KEPT = 2**23


class Visitor(Protocol):
    """See a table's rows, batch by batch."""

    def add(self, rows: Rows, first: int) -> None:
        """See prepared rows, the first of which is number ``first``."""


V = TypeVar("V", bound=Visitor)


def visit(table: Any, layout: Layout, make: Callable[[], V]) -> tuple[V, Preparer]:
    """Show all rows of a table to a visitor, a new one where a file must be read anew."""
    source = open_source(table)
    while True:
        visitor, preparer, first = make(), Preparer(layout), 0
        try:
            for batch in source.batches(layout):
                visitor.add(preparer.prepare(batch), first)
                first += batch.num_rows
        except Reread:
            continue
        return visitor, preparer


class Scan:
    """Keep every row's number, hash and, with ``columns``, its surprises: greatest and sum.

    Beyond KEPT rows only those of hashes up to ``limit`` are kept: which of them are equal is
    known all the same, as equal rows have equal hashes.
    """

    def __init__(self, columns: Columns | None = None) -> None:
        self.columns = columns
        self.limit = 2**64 - 1
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._kept = 0

    def add(self, rows: Rows, first: int) -> None:
        """See prepared rows."""
        taken = np.flatnonzero(rows.hashes <= np.uint64(self.limit))
        hashes = rows.hashes[taken]
        greatest = sums = np.zeros(len(taken), dtype=np.float32)
        if self.columns is not None and len(taken):
            greatest, sums = summarise(surprises_of(self.columns, rows.take(taken)))
        self._parts.append((taken + first, hashes, greatest, sums))
        self._kept += len(taken)
        while self._kept > KEPT:
            self.limit //= 2
            self._parts = [
                tuple(each[part[1] <= np.uint64(self.limit)] for each in part)
                for part in self._parts
            ]
            self._kept = sum(len(part[0]) for part in self._parts)

    def joined(self, place: int) -> NDArray[Any]:
        """Return the rows' numbers (0), hashes (1), greatest surprises (2) or their sums (3)."""
        return np.concatenate([part[place] for part in self._parts])

    def known(self) -> Known:
        """Return how often each row that was kept occurs."""
        distinct, repeats = np.unique(self.joined(1), return_counts=True)
        return Known(distinct, repeats, self.limit)


def surprises_of(columns: Columns, rows: Rows) -> Surprises:
    """Return the surprises of prepared rows, [columns, n]."""
    tokens = np.unpackbits(rows.tokens, axis=2).astype(bool)[:, :, :BUCKETS]
    return columns.surprises(rows.numbers, rows.codes, tokens)


def summarise(found: Surprises) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each row's greatest surprise and the sum of its surprises, float32 [n]."""
    greatest = found.max(axis=0, initial=0.0)
    return greatest.astype(np.float32), found.sum(axis=0).astype(np.float32)


@dataclass(frozen=True)
class Known:
    """Hold the distinct hashes of a table's rows up to ``limit``, sorted, and their counts."""

    distinct: Hashes
    repeats: NDArray[np.int64]
    limit: int

    def counts(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return how often each of these rows occurs in the table, 0 beyond the limit."""
        if not len(self.distinct):
            return np.zeros(len(hashes), dtype=np.int64)
        place = np.searchsorted(self.distinct, hashes).clip(max=len(self.distinct) - 1)
        return np.where(self.distinct[place] == hashes, self.repeats[place], 0)

    def repeated(self) -> tuple[int, int]:
        """Return how many of the known rows are there twice or more, and how many are known."""
        return int(self.repeats[self.repeats > 1].sum()), int(self.repeats.sum())


def can_be_scanned(table: Any) -> bool:
    """Tell whether a table's rows can be read, which those of a sketch cannot."""
    return not isinstance(table, Sketch) and not (
        isinstance(table, str | Path) and is_stored(table)
    )


def know_rows(table: Any, sketch: Sketch, layout: Layout) -> Known:
    """Return what is known of a table's repeated rows: by its sketch, by a scan if that is less."""
    if sketch.whole or not can_be_scanned(table):
        return Known(sketch.distinct, sketch.repeats, sketch.limit)
    scan, _ = visit(table, layout, Scan)
    return scan.known()


class Collector:
    """Keep the rows of these numbers, which are sorted."""

    def __init__(self, layout: Layout, numbers: NDArray[np.int64]) -> None:
        self.numbers = numbers
        self.parts = [no_rows(layout)]

    def add(self, rows: Rows, first: int) -> None:
        """See prepared rows."""
        start, stop = np.searchsorted(self.numbers, [first, first + len(rows.hashes)])
        if stop > start:
            self.parts.append(rows.take(self.numbers[start:stop] - first))


def collect_rows(
    table: Any, layout: Layout, numbers: NDArray[np.int64]
) -> tuple[Rows, dict[str, dict[str, int]]]:
    """Return the rows of these sorted numbers, and the texts of categories' hashes."""
    collector, preparer = visit(table, layout, lambda: Collector(layout, numbers))
    return join_rows(collector.parts), preparer.labels
