"""Judge all series and write the site with what they say."""

from __future__ import annotations

from pathlib import Path

from harness.report.digest import MEASURES, CellDigest, digest_row
from harness.report.site import write_site
from harness.store.baselines import BASELINES, read_baselines
from harness.store.index import Index, open_index
from harness.store.journal import list_runs
from harness.store.rows import CellRow, Sketch
from harness.trends.gather import judge_all
from ml.core.errors import MatrixError

# A cell's page shows a year of nights and a little more.
RUNS_SHOWN = 400


def publish(reports: Path, *, everything: bool = False) -> Path:
    """Write the site of a folder of reports and return its index.

    Changes up to an accepted baseline are no longer told. ``everything`` makes all data and pages
    anew. Raises MatrixError without a run, or with baselines that are none, and Unavailable
    without jinja2 or plotly.
    """
    bands = read_baselines(reports / BASELINES)
    accepted = {key: band.since for key, band in bands.items()}
    with open_index(reports) as index:
        trends = [trend for _, trend in judge_all(index, accepted)]
        cells = {cell.cell: cell for cell in index.cells()}
        series = index.all_series(MEASURES, RUNS_SHOWN)
        return write_site(
            reports,
            list_runs(reports),
            series={(one.cell, one.measure): one for one in series},
            trends=trends,
            digests=lambda run: _find_digest(index, cells, run),
            everything=everything,
        )


def _find_digest(
    index: Index, cells: dict[str, CellRow], run: str
) -> tuple[Sketch, list[CellDigest]] | None:
    try:
        rows = index.results_of_run(run)
        return index.sketch(run), [digest_row(cells[cell], row) for cell, row in rows.items()]
    except (KeyError, MatrixError):
        return None  # A run that was added meanwhile.
