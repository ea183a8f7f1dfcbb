"""Narrow sketches to the columns that both tables have, and tell what differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml.health.hashing import column_hash, hash_numbers, mix
from ml.health.layout import Layout
from ml.health.prepared import Rows, fits
from ml.health.report import SchemaDifference
from ml.health.sketch import Sketch


def schema_differences(reference: Sketch, candidate: Sketch) -> tuple[SchemaDifference, ...]:
    """Return the columns that one side lacks, or that are of another kind, in their names' order.

    The column that groups rows is not compared.
    """
    known = {column.name: column.kind for column in reference.layout.columns}
    found = []
    for name in sorted(known.keys() | candidate.kinds.keys()):
        if name == reference.layout.group:
            continue
        there = candidate.kinds.get(name)
        if name not in known:
            found.append(SchemaDifference(column=name, change="added", candidate=there))
        elif there is None:
            found.append(SchemaDifference(column=name, change="missing", reference=known[name]))
        elif not fits(there, known[name]):
            found.append(
                SchemaDifference(column=name, change="kind", reference=known[name], candidate=there)
            )
    return tuple(found)


def narrow(sketch: Sketch, layout: Layout) -> Sketch:
    """Return a sketch of these columns only, which are among its own.

    Of rows without the others only the sample is known: its hashes are theirs, and the hashes
    of all rows are none.
    """
    old = sketch.settle().layout
    if layout == old:
        return sketch
    measured, coded, texts = (
        [place for place, column in enumerate(before) if column in after]
        for before, after in (
            (old.measured, layout.measured),
            (old.coded, layout.coded),
            (old.texts, layout.texts),
        )
    )
    narrowed = Sketch(layout, sketch.kinds, sketch.labels)
    narrowed.rows = sketch.rows
    narrowed.histograms = sketch.histograms[measured]
    covaried = np.array([place for place in measured if place < len(sketch.known)], dtype=np.intp)
    square = np.ix_(covaried, covaried)
    narrowed.known, narrowed.sums = sketch.known[square], sketch.sums[square]
    narrowed.products = sketch.products[square]
    narrowed.counters = [sketch.counters[place] for place in coded]
    narrowed.dropped = [sketch.dropped[place] for place in coded]
    narrowed.words = sketch.words[texts]
    narrowed.limit = 0
    rows = Rows(
        sketch.sample.numbers[measured],
        sketch.sample.codes[coded],
        sketch.sample.tokens[texts],
        sketch.sample.hashes,
        sketch.sample.groups,
    )
    narrowed.sample = replace(rows, hashes=_rehashed(layout, rows))
    narrowed.keys, narrowed.places = sketch.keys, sketch.places
    return narrowed


def _rehashed(layout: Layout, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    total = np.zeros(len(rows.hashes), dtype=np.uint64)
    texts = {column.name: place for place, column in enumerate(layout.texts)}
    for column, values in zip(layout.measured, rows.numbers, strict=True):
        total += column_hash(column.name, hash_numbers(values))
        if column.name in texts:
            # The text itself is not kept; its words and its length are.
            words = np.ascontiguousarray(rows.tokens[texts[column.name]]).view(np.uint64)
            for place, part in enumerate(words.T):
                total += column_hash(f"{column.name} {place}", part)
    for column, codes in zip(layout.coded, rows.codes, strict=True):
        total += column_hash(column.name, codes)
    return mix(total)
