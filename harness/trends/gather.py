"""Judge what the index has: every cell's trends, with the reruns that confirm or clear them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.store.index import Index
from harness.store.rows import RerunRow
from harness.store.series import Series
from harness.trends.blame import Side, blame
from harness.trends.judge import judge_series
from harness.trends.trend import Confirmation, Trend
from ml.core.errors import MatrixError

# What is judged; the other measures are parts of these, and are shown.
JUDGED = ("score", "fit", "peak_memory")
# A year of nights and a little more.
RUNS_JUDGED = 400
# What was judged last in this process, by cell, measure and accepted run, with its series' hash.
_judged: dict[tuple[str, str, str | None], tuple[int, Trend]] = {}


def judge_all(
    index: Index, accepted: Mapping[tuple[str, str], str] | None = None
) -> Iterator[tuple[Series, Trend]]:
    """Yield the series of all cells in the judged measures, each with its trend.

    ``accepted`` names, by cell and measure, the run whose level was accepted.
    """
    for series, trend in gather_series(index, JUDGED, accepted):
        assert trend is not None
        yield series, trend


def gather_series(
    index: Index,
    measures: Sequence[str],
    accepted: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[tuple[Series, Trend | None]]:
    """Yield the series of all cells in these measures, with a trend where they are judged."""
    reruns = index.reruns()
    for series in index.all_series(measures, last=RUNS_JUDGED):
        if series.measure not in JUDGED:
            yield series, None
            continue
        confirmations = make_confirmations(series.cell, reruns.get(series.cell, ()))
        level = (accepted or {}).get((series.cell, series.measure))
        yield series, _judge(series, tuple(confirmations), level)


def _judge(series: Series, confirmations: tuple[Confirmation, ...], accepted: str | None) -> Trend:
    """Judge a series, or return what it was judged to be in this process before.

    A session judges all series to find what is suspect, and again for its pages, when all but a
    few stand as they stood.
    """
    key = (series.cell, series.measure, accepted)
    stood = hash((series, confirmations))
    known = _judged.get(key)
    if known is None or known[0] != stood:
        known = stood, judge_series(series, None, confirmations, accepted=accepted)
        _judged[key] = known
    return known[1]


def make_confirmations(cell: str, rows: Sequence[RerunRow]) -> list[Confirmation]:
    """Return what a cell's reruns say, one confirmation for each run and measure."""
    found: dict[tuple[str, str], list[RerunRow]] = {}
    for row in rows:
        found.setdefault((row.run, row.measure), []).append(row)
    return [
        Confirmation(
            run=run,
            cell=cell,
            measure=measure,
            values=tuple(row.value for row in group),
            # Without the kernel beside each of them, none can be compared with a calibrated past.
            calibrations=tuple(row.calibration for row in group if row.calibration is not None)
            if all(row.calibration is not None for row in group)
            else (),
        )
        for (run, measure), group in found.items()
    ]


def with_blame(index: Index, series: Series, trend: Trend) -> Trend:
    """Return a trend with what else changed between its runs; it reads their records."""
    if trend.state == "unchanged" or trend.since is None:
        return trend
    before, after = trend.since.run_before, trend.since.run_after
    if before == after:
        return trend
    old, new = _side(index, series, before), _side(index, series, after)
    return replace(trend, blame=blame(series.cell, old, new, series.kind))


def _side(index: Index, series: Series, name: str) -> Side:
    run = index.run(name)
    point = next(point for point in series.points if point.run == name)
    return Side(
        run=name,
        commit=point.commit,
        branch=run.branch,
        dirty=point.dirty,
        environment=run.parts,
        data=point.data,
        entry=point.entry,
        request=_request(index, series.cell, name),
    )


def _request(index: Index, cell: str, run: str) -> Mapping[str, Any] | None:
    try:
        return index.record(cell, run).request
    except MatrixError:
        return None  # A benchmark has none, and a run may have been removed meanwhile.
