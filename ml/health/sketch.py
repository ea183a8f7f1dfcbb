"""Sketch a table in one pass: counts, sums and samples that merge, flat in the number of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import RequestInvalid
from ml.health.columns import BUCKETS, Kind
from ml.health.hashing import Hashes, sampling_keys
from ml.health.layout import BINS, Layout
from ml.health.prepared import Rows, join_rows, no_rows

# Slots of a histogram: one under, BINS, one over, one missing.
SLOTS = BINS + 3
LEVELS = 4096
DISTINCT_ROWS = 65_536
RESERVOIR = 20_000
# Columns whose covariance is summed; the table of sums grows with their square.
COVARIED = 128

Counter = dict[int, int]


@dataclass
class Sketch:
    """Hold what one pass keeps of a table; every part merges with that of another sketch.

    ``histograms`` is int64 [measured, SLOTS]. ``known``, ``sums`` and ``products`` are float64
    over the first COVARIED measured columns, of values shifted and scaled by their layout and
    0 where missing: rows where both are known, sums of one where the other is known too, and
    sums of products, [c, c] each. ``counters`` count each category's hash, the rarest dropped
    beyond LEVELS and summed in ``dropped``. ``words`` is int64 [texts, BUCKETS], the rows that
    have a word in the bucket. ``distinct`` holds the smallest hashes of rows, uint64 sorted, and
    ``repeats`` how often each occurs; no row's hash up to ``limit`` is left out. ``sample`` are
    the rows with the smallest random ``keys``, in the order of these, and ``places`` their row
    numbers. What ``add`` was given last may wait; ``settle`` brings it in.
    """

    layout: Layout
    kinds: dict[str, Kind] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: int = 0
    histograms: NDArray[np.int64] = field(init=False)
    known: NDArray[np.float64] = field(init=False)
    sums: NDArray[np.float64] = field(init=False)
    products: NDArray[np.float64] = field(init=False)
    counters: list[Counter] = field(init=False)
    dropped: list[int] = field(init=False)
    words: NDArray[np.int64] = field(init=False)
    distinct: Hashes = field(init=False)
    repeats: NDArray[np.int64] = field(init=False)
    limit: int = 2**64 - 1
    sample: Rows = field(init=False)
    keys: Hashes = field(init=False)
    places: NDArray[np.int64] = field(init=False)
    _hashes: list[Hashes] = field(init=False, default_factory=list)
    _chosen: list[tuple[Rows, Hashes, NDArray[np.int64]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        measured, coded = len(self.layout.measured), len(self.layout.coded)
        covaried = min(measured, COVARIED)
        self.histograms = np.zeros((measured, SLOTS), dtype=np.int64)
        self.known, self.sums, self.products = np.zeros((3, covaried, covaried))
        self.counters = [{} for _ in range(coded)]
        self.dropped = [0] * coded
        self.words = np.zeros((len(self.layout.texts), BUCKETS), dtype=np.int64)
        self.distinct = np.zeros(0, dtype=np.uint64)
        self.repeats = np.zeros(0, dtype=np.int64)
        self.sample = no_rows(self.layout)
        self.keys = np.zeros(0, dtype=np.uint64)
        self.places = np.zeros(0, dtype=np.int64)

    def add(self, rows: Rows, first: int, *, seed: int, part: int = 0) -> None:
        """Count prepared rows, the first of which is number ``first`` of its part of the table."""
        number = len(rows.hashes)
        self.rows += number
        self._count_numbers(rows.numbers)
        for place, codes in enumerate(rows.codes):
            levels, counts = np.unique(codes, return_counts=True)
            _count(self.counters[place], levels.tolist(), counts.tolist())
            self.dropped[place] += _prune(self.counters[place])
        for place, bits in enumerate(rows.tokens):
            self.words[place] += np.unpackbits(bits, axis=1).sum(axis=0, dtype=np.int64)
        self._add_hashes(rows.hashes)
        self._add_sample(rows, first, sampling_keys(seed, part, first, number))
        if sum(len(hashes) for hashes in self._hashes) >= DISTINCT_ROWS:
            self._settle_hashes()
        if sum(len(keys) for _, keys, _ in self._chosen) >= RESERVOIR // 2:
            self._settle_sample()

    def _count_numbers(self, numbers: NDArray[np.float64]) -> None:
        shifted = np.empty((len(self.known), numbers.shape[1]))
        gaps = False
        for place, (column, values) in enumerate(zip(self.layout.measured, numbers, strict=True)):
            bins = (values / 2 - column.low / 2) * (BINS / (column.high / 2 - column.low / 2))
            bins += 1.0
            np.fmin(bins, BINS + 1.0, out=bins)
            np.fmax(bins, 0.0, out=bins)
            # NaN took the place of the values over; these are told apart by what is no number.
            counts = np.bincount(bins.astype(np.int64), minlength=SLOTS)
            missing = int(np.isnan(values).sum())
            counts[BINS + 1] -= missing
            counts[BINS + 2] += missing
            self.histograms[place] += counts
            if place < len(shifted):
                np.subtract(values, column.center, out=shifted[place])
                shifted[place] /= column.scale
                gaps = gaps or missing > 0
        bad = ~np.isfinite(shifted)
        if bad.any():
            shifted[bad] = 0.0
            there = (~bad).astype(np.float64)
            self.known += there @ there.T
            self.sums += shifted @ there.T
        else:
            self.known += numbers.shape[1]
            self.sums += shifted.sum(axis=1)[:, None]
        self.products += shifted @ shifted.T

    def _add_hashes(self, hashes: Hashes) -> None:
        if self.limit < 2**64 - 1:
            hashes = hashes[hashes <= np.uint64(self.limit)]
        self._hashes.append(hashes)

    def _add_sample(self, rows: Rows, first: int, keys: Hashes) -> None:
        places = np.arange(first, first + len(keys))
        if len(self.keys) == RESERVOIR:
            taken = np.flatnonzero(keys < self.keys[-1])
            rows, keys, places = rows.take(taken), keys[taken], places[taken]
        self._chosen.append((rows, keys, places))

    def settle(self) -> Sketch:
        """Bring in what waits, and return this sketch."""
        self._settle_hashes()
        self._settle_sample()
        return self

    def _settle_hashes(self) -> None:
        if self._hashes:
            waiting, self._hashes = np.concatenate(self._hashes), []
            self._merge_distinct(*np.unique(waiting, return_counts=True))

    def _merge_distinct(self, distinct: Hashes, repeats: NDArray[np.int64]) -> None:
        both = np.concatenate([self.distinct, distinct])
        found, place = np.unique(both, return_inverse=True)
        counts = np.zeros(len(found), dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.repeats, repeats]))
        if len(found) > DISTINCT_ROWS:
            self.limit = min(self.limit, int(found[DISTINCT_ROWS - 1]))
        within = int(np.searchsorted(found, np.uint64(self.limit), side="right"))
        self.distinct, self.repeats = found[:within], counts[:within]

    def _settle_sample(self) -> None:
        if self._chosen:
            chosen, self._chosen = self._chosen, []
            keys = np.concatenate([self.keys, *(one[1] for one in chosen)])
            places = np.concatenate([self.places, *(one[2] for one in chosen)])
            order = np.argsort(keys, kind="stable")[:RESERVOIR]
            self.sample = join_rows([self.sample, *(one[0] for one in chosen)]).take(order)
            self.keys, self.places = keys[order], places[order]

    def merge(self, other: Sketch) -> None:
        """Take in the sketch of further rows; raises RequestInvalid where the layouts differ.

        The further rows are of another part of the table, so that their random keys differ.
        """
        if other.layout != self.layout:
            raise RequestInvalid(
                "sketches of different layouts cannot be merged",
                code="layout_differs",
                remedy="make both with one layout, the reference's",
            )
        other.settle()
        self.settle()
        self.rows += other.rows
        for name in ("histograms", "known", "sums", "products", "words"):
            getattr(self, name)[...] += getattr(other, name)
        for place, counter in enumerate(other.counters):
            _count(self.counters[place], list(counter), list(counter.values()))
            self.dropped[place] += other.dropped[place] + _prune(self.counters[place])
        for name, kind in other.kinds.items():
            if self.kinds.get(name, "empty") == "empty":
                self.kinds[name] = kind
        for name, labels in other.labels.items():
            self.labels.setdefault(name, {}).update(labels)
        self.limit = min(self.limit, other.limit)
        self._merge_distinct(other.distinct, other.repeats)
        self._chosen.append((other.sample, other.keys, other.places))
        self._settle_sample()

    @property
    def whole(self) -> bool:
        """Tell whether ``distinct`` has every row of the table."""
        return self.limit == 2**64 - 1


def _count(counter: Counter, levels: list[int], counts: list[int]) -> None:
    for level, count in zip(levels, counts, strict=True):
        counter[level] = counter.get(level, 0) + count


def _prune(counter: Counter) -> int:
    if len(counter) <= 2 * LEVELS:
        return 0
    # By count, then by hash, so that the order of the rows does not choose among equals.
    ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    dropped = ranked[LEVELS:]
    for level, _ in dropped:
        del counter[level]
    return sum(count for _, count in dropped)
