"""Say what many changes have in common, so that a cause stands out among its effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.report.text import count
from harness.store.ladder import list_comparisons
from harness.store.record import Record
from harness.trends.trend import Trend
from ml.core.contracts import Framework

# Fewer changes have too much in common by chance.
LEAST_CHANGES = 3
SIDES = ("dataset", "algorithm", "framework", "mode")


def say_what_changes_share(trends: Sequence[Trend], records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each side that all changed cells share, and not all cells."""
    told = {trend.cell for trend in trends if trend.state in ("regressed", "improved")}
    changed = [record for record in records if record.cell in told]
    if len(changed) < LEAST_CHANGES or len(changed) < len(told):
        return
    for side in SIDES:
        values = {str(getattr(record, side)) for record in changed}
        everywhere = {str(getattr(record, side)) for record in records}
        if len(values) == 1 and len(everywhere) > 1:
            [value] = values
            yield f"All {len(changed)} cells that regressed or improved have {side} {value}."


def say_where_frameworks_drift(records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each pair of frameworks that drifts apart, with the rungs."""
    found: Counter[tuple[tuple[Framework, Framework], str]] = Counter()
    compared: Counter[tuple[Framework, Framework]] = Counter()
    for one in list_comparisons(records):
        pair = one.comparison.frameworks
        compared[pair] += 1
        if one.state == "failed":
            rung = next(rung for rung in one.comparison.rungs if not rung.passes)
            found[pair, rung.name] += 1
    for pair in compared:
        rungs = {name: number for (which, name), number in found.items() if which == pair}
        if rungs:
            cells = count(sum(rungs.values()), "cell")
            places = ", ".join(f"{number} at {name}" for name, number in rungs.items())
            yield f"{pair[0]} and {pair[1]} drift apart in {cells} of {compared[pair]}: {places}."
