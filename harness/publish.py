"""Judge all series and write the site with what they say."""

from __future__ import annotations

from pathlib import Path

from harness.report.site import write_site
from harness.store.baselines import BASELINES, read_baselines
from harness.store.index import open_index
from harness.store.journal import list_runs
from harness.store.series import Series
from harness.trends.gather import judge_all
from ml.core.errors import MatrixError


def publish(reports: Path, *, everything: bool = False) -> Path:
    """Write the site of a folder of reports and return its index.

    Changes up to an accepted baseline are no longer told. ``everything`` reads and writes all
    runs anew. Raises MatrixError without a run, or with baselines that are none, and Unavailable
    without jinja2 or plotly.
    """
    bands = read_baselines(reports / BASELINES)
    accepted = {key: band.since for key, band in bands.items()}
    with open_index(reports) as index:
        trends = [trend for _, trend in judge_all(index, accepted)]

        def find(cell: str, measure: str) -> Series | None:
            try:
                return index.series(cell, measure)
            except MatrixError:
                return None  # A run that was added meanwhile.

        runs = list_runs(reports)
        return write_site(reports, runs, series=find, trends=trends, everything=everything)
