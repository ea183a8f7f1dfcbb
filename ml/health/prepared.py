"""Prepare a batch of rows for counting: numbers, hashed categories, words, and rows' hashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.columns import BUCKETS, Kind, hash_words, kind_of, numbers_of, tokens_of, words_of
from ml.health.hashing import MISSING, Hashes, column_hash, hash_numbers, mix
from ml.health.layout import ColumnLayout, Layout, check_names


@dataclass(frozen=True)
class Rows:
    """Hold rows as a layout looks at them, columns in the layout's order.

    ``numbers`` is float64 [measured, n] with NaN for missing; ``codes`` uint64 [coded, n], the
    hash of the category; ``tokens`` uint8 [texts, n, BUCKETS // 8]; ``hashes`` and ``groups``
    uint64 [n]. A column that a table lacks, or has in another kind, is missing in every row.
    """

    numbers: NDArray[np.float64]
    codes: Hashes
    tokens: NDArray[np.uint8]
    hashes: Hashes
    groups: Hashes

    def take(self, rows: NDArray[Any]) -> Rows:
        """Return these rows only, by index or mask."""
        return Rows(
            self.numbers[:, rows],
            self.codes[:, rows],
            self.tokens[:, rows],
            self.hashes[rows],
            self.groups[rows],
        )


def join_rows(parts: list[Rows]) -> Rows:
    """Return the rows of all parts, in order."""
    return Rows(
        np.concatenate([part.numbers for part in parts], axis=1),
        np.concatenate([part.codes for part in parts], axis=1),
        np.concatenate([part.tokens for part in parts], axis=1),
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )


def no_rows(layout: Layout) -> Rows:
    """Return the empty table of a layout."""
    nothing = np.zeros(0, dtype=np.uint64)
    return Rows(
        np.zeros((len(layout.measured), 0)),
        np.zeros((len(layout.coded), 0), dtype=np.uint64),
        np.zeros((len(layout.texts), 0, BUCKETS // 8), dtype=np.uint8),
        nothing,
        nothing,
    )


@dataclass
class Preparer:
    """Prepare batches by a layout; remembers the hashes of texts and the kinds that it met.

    ``kinds`` has the first kind of every column that was met; ``labels`` has the text of each
    category's hash, for the columns of categories.
    """

    layout: Layout
    kinds: dict[str, Kind] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)

    def prepare(self, batch: Any) -> Rows:
        """Return the rows of an Arrow record batch."""
        check_names(batch.schema.names)
        names = set(batch.schema.names)
        expected = {column.name: column.kind for column in self.layout.columns}
        for name, type_ in zip(batch.schema.names, batch.schema.types, strict=True):
            found, kind = self.kinds.get(name, "empty"), kind_of(type_)
            # One batch of another kind makes the column one.
            if found == "empty" or not fits(kind, expected.get(name, kind)):
                self.kinds[name] = kind
        rows = batch.num_rows
        hashed = np.zeros(rows, dtype=np.uint64)
        measured, coded = self.layout.measured, self.layout.coded
        texts = {column.name: place for place, column in enumerate(self.layout.texts)}
        numbers = np.full((len(measured), rows), np.nan)
        codes = np.full((len(coded), rows), MISSING, dtype=np.uint64)
        tokens = np.zeros((len(texts), rows, BUCKETS // 8), dtype=np.uint8)
        for place, column in enumerate(measured):
            if not self._fits(column, names):
                hashed += column_hash(column.name, np.zeros(1, dtype=np.uint64))
            elif column.kind == "text":
                words = words_of(batch.column(column.name))
                lengths = np.array([*map(len, words.labels), np.nan], dtype=np.float64)
                numbers[place] = lengths[words.codes]
                tokens[texts[column.name]] = tokens_of(words, self._known(f"words {column.name}"))
                hashed += column_hash(column.name, hash_words(words, {}))
            else:
                numbers[place] = numbers_of(batch.column(column.name), column.kind)
                hashed += column_hash(column.name, hash_numbers(numbers[place]))
        for place, column in enumerate(coded):
            if self._fits(column, names):
                words = words_of(batch.column(column.name))
                codes[place] = hash_words(words, self._known(column.name))
            hashed += column_hash(column.name, codes[place])
        groups = np.zeros(rows, dtype=np.uint64)
        if self.layout.group is not None and self.layout.group in names:
            groups = hash_words(words_of(batch.column(self.layout.group)), {})
        return Rows(numbers, codes, tokens, mix(hashed), groups)

    def _fits(self, column: ColumnLayout, names: set[str]) -> bool:
        return column.name in names and fits(self.kinds[column.name], column.kind)

    def _known(self, name: str) -> dict[str, int]:
        return self.labels.setdefault(name, {})


def fits(found: Kind, expected: Kind) -> bool:
    """Tell whether a column found to be of one kind can be looked at as another."""
    same = {"text": "categorical"}
    return "empty" in (found, expected) or same.get(found, found) == same.get(expected, expected)
