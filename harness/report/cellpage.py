"""Build what a cell's page loads: its series over runs, its newest record, its siblings."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from harness.report.digest import CellDigest, digest_cell
from harness.report.files import name_file
from harness.report.frame import link_cell
from harness.report.pages import name_anchor
from harness.report.parity import build_ladder
from harness.report.rerun import write_rerun
from harness.report.sweeppanel import build_panel
from harness.report.trendwords import (
    SYMBOLS,
    choose_worst,
    write_commits,
    write_effect,
    write_interval,
    write_measure,
)
from harness.store.journal import RunJournal
from harness.store.ladder import Compared
from harness.store.record import Record
from harness.store.series import Point, Series
from harness.trends.trend import Trend
from ml.core.contracts import Trial

UNITS = {"fit": "seconds", "seconds": "seconds", "peak_memory": "bytes"}


@dataclass(frozen=True)
class CellLine:
    """Hold a cell's line in the list of cells, as its newest record says.

    ``run`` is the newest run that has the cell, ``trend`` the state of its worst trend, empty
    where none was judged; ``stem`` names its data file; ``row`` is the way to its row in the page
    of that run, empty where the run has none.
    """

    digest: CellDigest
    run: str
    stem: str
    link: str
    row: str
    trend: str
    symbol: str
    evidence: str


@dataclass(frozen=True)
class CellsPage:
    """Hold the list of all cells; ``records`` names the data files with whole runs' records."""

    lines: tuple[CellLine, ...]
    records: dict[str, str]

    @property
    def ways(self) -> dict[str, tuple[str, str]]:
        """Return by cell the name of its data file and the way to its row in its run's page."""
        return {line.digest.cell: (line.stem, line.row) for line in self.lines}


def build_cells_page(
    cells: Mapping[str, tuple[str, CellDigest]],
    trends: Mapping[str, Sequence[Trend]],
    pages: frozenset[str],
    records: dict[str, str],
) -> CellsPage:
    """Build the list of cells, by name; ``cells`` gives each one's newest run and digest.

    ``pages`` are the runs that have a page, ``records`` names by run the data files that hold
    their records.
    """
    lines = []
    for name in sorted(cells):
        run, digest = cells[name]
        worst = choose_worst(trends.get(name, ()))
        told = worst is not None and worst.state != "unchanged"
        lines.append(
            CellLine(
                digest=digest,
                run=run,
                stem=name_file("cell", name),
                link=link_cell(name),
                row=f"runs/{quote(run)}/index.html#{name_anchor(name)}" if run in pages else "",
                trend=worst.state if worst else "",
                symbol=SYMBOLS[worst.state] if worst else "",
                evidence=f"{write_measure(worst.measure)}: {worst.evidence}"
                if worst and told
                else "",
            )
        )
    return CellsPage(tuple(lines), records)


def build_cell_data(
    digest: CellDigest,
    newest: Mapping[str, Any],
    series: Sequence[Series],
    trends: Sequence[Trend],
    known: Container[str],
) -> dict[str, Any]:
    """Return what the cell's page loads, as JSON values; ``newest`` is from ``build_newest``.

    The runs of all its series stand once, oldest first; a measure's points name them by place.
    Of a run that is not ``known`` to the list of runs, start and commit stand here, too.
    ``marks`` tell at which runs data, environment or request became others.
    """
    points = {point.run: point for one in series for point in one.points}
    names = sorted(points, key=lambda name: (points[name].started, name))
    places = {name: place for place, name in enumerate(names)}
    judged = {trend.measure: trend for trend in trends}
    # A cell that failed has no metric, and its siblings are judged by the same one.
    metrics = (digest.metric, *(one[5] for one in newest["siblings"]))
    metric = next((name for name in metrics if name), None)
    return {
        "cell": digest.cell,
        "parts": [digest.dataset, digest.algorithm, digest.framework, digest.mode, digest.task],
        "rerun": newest["rerun"],
        "runs": names,
        "unlisted": {
            name: [points[name].started, points[name].commit, points[name].dirty]
            for name in names
            if name not in known
        },
        "marks": _find_marks([points[name] for name in names]),
        "measures": [
            _build_measure(one, metric, places, judged.get(one.measure)) for one in series
        ],
        "newest": newest,
    }


def build_newest(
    record: Record,
    run: RunJournal,
    siblings: Sequence[Record],
    compared: Sequence[Compared],
    kept: Sequence[Trial] = (),
) -> dict[str, Any]:
    """Return what the page shows of a cell's newest record, that of ``run``, as JSON values.

    ``siblings`` are the run's records of the same dataset, algorithm and mode, in whichever
    framework; ``compared`` the comparisons that the cell is part of. The record stands there as
    text, as JavaScript would lose the last digits of a seed. A sweep's trials are in it;
    ``kept`` are those of one that gave no result.
    """
    ladder = build_ladder(record.cell, compared)
    panel = build_panel(record, kept)
    return {
        "run": run.folder.name,
        "rerun": write_rerun(record, run.head),
        "record": record.model_dump_json(),
        "siblings": [_build_sibling(one, record) for one in siblings],
        "ladder": asdict(ladder) if ladder else None,
        "sweep": asdict(panel) if panel else None,
    }


def _find_marks(points: Sequence[Point]) -> list[tuple[int, str]]:
    marks = []
    for place, (one, two) in enumerate(pairwise(points), start=1):
        parts = ("data", "environment", "entry")
        changed = [part for part in parts if getattr(one, part) != getattr(two, part)]
        if changed:
            words = ["request" if part == "entry" else part for part in changed]
            marks.append((place, ", ".join(words)))
    return marks


def _build_sibling(one: Record, record: Record) -> list[Any]:
    found = digest_cell(one)
    return [
        one.cell,
        one.framework,
        one.cell == record.cell,
        found.state,
        found.outcome_word,
        found.metric,
        found.value,
        found.spread,
        found.fit,
        found.seconds,
        found.peak_memory,
    ]


def _build_measure(
    series: Series, metric: str | None, places: Mapping[str, int], trend: Trend | None
) -> dict[str, Any]:
    points = series.points
    title = write_measure(series.measure)
    if series.measure == "score":
        title = metric or title
    return {
        "measure": series.measure,
        "title": title,
        "unit": UNITS.get(series.measure, ""),
        "greater": series.greater_is_better,
        "at": [places[point.run] for point in points],
        "values": [point.value for point in points],
        "replicates": [point.replicates for point in points]
        if any(point.replicates for point in points)
        else [],
        "trend": _build_trend(trend) if trend else None,
    }


def _build_trend(trend: Trend) -> dict[str, Any]:
    return {
        "state": trend.state,
        "symbol": SYMBOLS[trend.state],
        "changed": trend.changed,
        "effect": write_effect(trend.effect),
        "interval": write_interval(trend.interval),
        "since": asdict(trend.since) if trend.since else None,
        "commits": write_commits(trend.since),
        "evidence": trend.evidence,
        "blame": asdict(trend.blame) if trend.blame else None,
        "segments": [[s.first, s.last, s.level, s.low, s.high] for s in trend.segments],
    }
