"""Judge all series and write the site with what they say."""

from __future__ import annotations

import gc
from pathlib import Path

from harness.report.digest import MEASURES, CellDigest, digest_brief
from harness.report.site import write_site
from harness.store.baselines import BASELINES, read_baselines
from harness.store.index import Index, open_index
from harness.store.journal import list_runs
from harness.store.rows import Sketch
from harness.trends.gather import gather_series, with_blame
from ml.core.errors import MatrixError


def publish(reports: Path, *, everything: bool = False) -> Path:
    """Write the site of a folder of reports and return its index.

    Changes up to an accepted baseline are no longer told. ``everything`` makes all data and pages
    anew. Raises MatrixError without a run, or with baselines that are none, and Unavailable
    without jinja2 or plotly.
    """
    # Millions of points live until the end; to look through them for garbage finds none.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _publish(reports, everything)
    finally:
        if collects:
            gc.enable()


def _publish(reports: Path, everything: bool) -> Path:
    bands = read_baselines(reports / BASELINES)
    accepted = {key: band.since for key, band in bands.items()}
    with open_index(reports) as index:
        gathered = list(gather_series(index, MEASURES, accepted))
        return write_site(
            reports,
            list_runs(reports),
            series={(one.cell, one.measure): one for one, _ in gathered},
            trends=[with_blame(index, one, trend) for one, trend in gathered if trend is not None],
            digests=lambda run: _find_digest(index, run),
            everything=everything,
        )


def _find_digest(index: Index, run: str) -> tuple[Sketch, list[CellDigest]] | None:
    try:
        return index.sketch(run), [digest_brief(row) for row in index.briefs_of_run(run)]
    except MatrixError:
        return None  # A run that was added meanwhile.
