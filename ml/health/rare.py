"""Count the levels that a table has, beside those that another of its size would have."""

from __future__ import annotations

from math import exp, inf, lgamma

from ml.health.diversity_report import Measure
from ml.health.hashing import MISSING
from ml.health.measures import measured
from ml.health.sketch import Counter, Sketch

# A level rarer than this in the reference is rare.
RARE = 0.05


def measure_levels(reference: Sketch, candidate: Sketch, reasons: list[str]) -> list[Measure]:
    """Return the measures of levels: per column, and of the rare ones of all columns.

    Each column's levels are counted at an equal number of rows (rarefaction; Hurlbert 1971).
    """
    found = []
    levels, expected, kept = 0, 0.0, 0
    rows = min(reference.rows, candidate.rows)
    for place, column in enumerate(reference.layout.coded):
        if reference.dropped[place] or candidate.dropped[place]:
            reasons.append(f"{column.name} has too many levels to count each")
            continue
        one, two = reference.counters[place], candidate.counters[place]
        before, after = _rarefied(one, reference.rows, rows), _rarefied(two, candidate.rows, rows)
        found.append(measured("levels", before, after, column.name, means=f"{rows}"))
        for level, count in one.items():
            if level != int(MISSING) and count < RARE * reference.rows:
                levels += 1
                expected += 1 - (1 - count / reference.rows) ** candidate.rows
                kept += level in two
    if levels:
        found.append(measured("rare levels kept", expected / levels, kept / levels))
    return found


def _rarefied(counter: Counter, rows: int, drawn: int) -> float:
    """Return how many levels are expected in a draw of so many of the rows."""
    counts = [count for level, count in counter.items() if level != int(MISSING)]
    if drawn >= rows:
        return float(len(counts))
    return sum(1 - exp(_log_none(count, rows, drawn)) for count in counts)


def _log_none(count: int, rows: int, drawn: int) -> float:
    """Return the logarithm of the chance that no row of a level is drawn."""
    if count > rows - drawn:
        return -inf
    return (
        lgamma(rows - count + 1)
        - lgamma(rows - count - drawn + 1)
        - lgamma(rows + 1)
        + lgamma(rows - drawn + 1)
    )
