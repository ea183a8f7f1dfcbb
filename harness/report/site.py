"""Write the site: the newest run's page, a page per run, and the files that they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.report.cells import NUMBER_COLUMNS
from harness.report.curve import HEIGHT, WIDTH
from harness.report.files import copy_assets, replace_file
from harness.report.frame import render
from harness.report.heatmap import STEPS
from harness.report.pages import RunPage, build_run_page, summarize_run
from harness.store.journal import JOURNAL, RunJournal
from ml.core.errors import MatrixError

PAGE = "index.html"


def write_site(reports: Path, runs: Sequence[RunJournal]) -> Path:
    """Write ``index.html`` for the newest run and a page for each run; return the index.

    ``runs`` are all runs of ``reports``, newest first. A run's own page is written when it is
    missing, older than its journal, or when the shared files have changed; the newest run's
    always. Every file is replaced whole. Raises MatrixError without a run, Unavailable without
    jinja2.
    """
    if not runs:
        raise MatrixError(
            f"{reports}: there is no run to show",
            expected=f"a journal runs/<run>/{JOURNAL}",
            remedy="run a matrix first: pytest -m slow_matrix",
        )
    changed = copy_assets(reports)
    summaries = [summarize_run(run) for run in runs]
    for position, run in enumerate(runs):
        page = run.folder / PAGE
        if position == 0 or changed or _is_stale(page, run.folder / JOURNAL):
            built = build_run_page(run, summaries[position + 1 :])
            html = render_page(built, root="../../", runs="../", newest=position == 0)
            replace_file(page, html.encode())
    index = reports / PAGE
    html = render_page(build_run_page(runs[0], summaries[1:]), root="", runs="runs/", newest=True)
    replace_file(index, html.encode())
    return index


def render_page(page: RunPage, *, root: str, runs: str, newest: bool) -> str:
    """Render a run's page as HTML; everything that comes from a record is escaped.

    ``root`` and ``runs`` are the relative ways to the reports' folder and to that of the runs.
    Raises Unavailable without jinja2.
    """
    return render(
        "run.html",
        page,
        here="runs.html",
        requests={row.anchor: row.request for row in page.rows},
        root=root,
        runs=runs,
        newest=newest,
        number_columns=NUMBER_COLUMNS,
        steps=STEPS,
        curve_width=WIDTH,
        curve_height=HEIGHT,
    )


def _is_stale(page: Path, journal: Path) -> bool:
    try:
        written = page.stat().st_mtime_ns
    except FileNotFoundError:
        return True
    return journal.exists() and journal.stat().st_mtime_ns > written
