"""Write the site: overview, runs, cells and comparison, a page per run, and what they share.

A run's journal is read when it is new or has changed; what other pages need of it is kept in
its digest beside them, so that a night costs its own run and not those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.report.cellpage import build_cell_data, build_cells_page, build_newest
from harness.report.cells import NUMBER_COLUMNS
from harness.report.comparisons import write_comparisons
from harness.report.curve import HEIGHT, WIDTH
from harness.report.digest import (
    DIGEST_VERSION,
    MEASURES,
    CellDigest,
    RunDigest,
    digest_cell,
    digest_run,
    digest_sketch,
    read_cells,
    read_digests,
    stamp_of,
    write_cells,
    write_digests,
)
from harness.report.feed import write_feed
from harness.report.files import (
    DATA,
    copy_assets,
    name_file,
    read_data,
    replace_file,
    write_data,
)
from harness.report.frame import render
from harness.report.healthsite import write_checks
from harness.report.heatmap import STEPS
from harness.report.overview import build_overview, choose_summary
from harness.report.pages import RunPage, build_run_page
from harness.report.runspage import build_runs_page
from harness.report.sweeps import SweepLine, build_sweeps
from harness.report.tuned import Swept
from harness.store.journal import JOURNAL, RunJournal, read_run
from harness.store.ladder import list_comparisons
from harness.store.record import Head, Record, parse_line
from harness.store.rows import Sketch
from harness.store.series import Series
from harness.store.trials import name_trials, read_trials
from harness.trends.trend import Trend
from ml.core.contracts import Trial
from ml.core.errors import MatrixError

PAGE = "index.html"
FEED = "feed.xml"
CELLS = "cells"
# Each night writes its own run's page; pages that are missing are made for so many runs only.
PAGES_MADE = 20
EARLIER_SHOWN = 10
# Records of so many runs are kept as data files beside the pages; the journals have all.
RECORDS_KEPT = 20

# What the index has of a run, so that its journal need not be read; None where it has none.
FindDigest = Callable[[str], tuple[Sketch, Sequence[CellDigest]] | None]


@dataclass
class _Site:
    """Gather what the pages are made of; ``places`` counts runs from the newest, at 0.

    ``newest`` names the run of each cell's newest record, where that is still to be written.
    """

    reports: Path
    folders: Sequence[Path]
    everything: bool
    digests: dict[str, RunDigest] = field(default_factory=dict)
    cells: dict[str, tuple[str, CellDigest]] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    read: dict[str, RunJournal] = field(default_factory=dict)
    given: dict[str, RunJournal] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.places = {folder.name: place for place, folder in enumerate(self.folders)}

    def hold(self, run: RunJournal) -> None:
        """Hold a run's journal until the next one is: all of them would be too many."""
        self.read = {run.folder.name: run}

    def run(self, name: str) -> RunJournal:
        """Return a run's journal as it was given, or read where it is not held."""
        if name in self.given:
            return self.given[name]
        if name not in self.read:
            self.hold(read_run(self.folders[self.places[name]]))
        return self.read[name]

    def has_data(self, stem: str) -> bool:
        return (self.reports / DATA / f"{stem}.js").exists()


def write_site(
    reports: Path,
    runs: Sequence[RunJournal | Path],
    *,
    series: Mapping[tuple[str, str], Series] | None = None,
    trends: Sequence[Trend] = (),
    digests: FindDigest | None = None,
    everything: bool = False,
) -> Path:
    """Write the site and return its index.

    ``runs`` are all runs of ``reports``, newest first; a run that is given by its folder is read
    only where it must be. ``series`` are those to show, by cell and measure; ``digests`` gives
    what the index has of a run, None for reading all journals. A run's own page is written when it
    is missing and among the newest, older than its journal, or when the shared files have changed;
    the newest run's always, and all of them with ``everything``. Every file is replaced whole, and
    what belongs to runs that are no more is removed. Raises MatrixError without a run, Unavailable
    without jinja2 or plotly.
    """
    if not runs:
        raise MatrixError(
            f"{reports}: there is no run to show",
            expected=f"a journal runs/<run>/{JOURNAL}",
            remedy="run a matrix first: pytest -m slow_matrix",
        )
    changed = copy_assets(reports) or everything
    site = _Site(reports, [_folder_of(run) for run in runs], everything)
    site.given = {run.folder.name: run for run in runs if isinstance(run, RunJournal)}
    _recall(site)
    newest = _read_changed(site, runs, changed, digests)
    listed = [site.digests[folder.name] for folder in site.folders]
    write_digests(reports, listed)
    _write_cell_data(site, series or {}, trends)
    totals = [(digest.summary.totals, digest.sweeps) for digest in listed]
    sizes = [one.cells - one.unavailable - sweeps for one, sweeps in totals]
    write_comparisons(
        reports, [newest, *runs[1:]], sizes, _find_runs(site), list(_read_sweeps(site))
    )
    _write_pages(site, newest, listed, trends)
    write_checks(reports)
    _remove_strays(site)
    return reports / PAGE


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


def _recall(site: _Site) -> None:
    """Take up what the last report left, as far as it still holds."""
    known = {} if site.everything else read_digests(site.reports)
    for name, digest in known.items():
        if name in site.places and site.has_data(digest.stem):
            site.digests[name] = digest
    stored = read_data(site.reports, CELLS)
    if not known or not isinstance(stored, dict) or stored.get("version") != DIGEST_VERSION:
        # Cells without a known newest record are found again by reading the runs again.
        site.digests.clear()
        return
    lost = set()
    for cell, (run, row) in stored["cells"].items():
        if run not in site.places:
            lost.add(cell)
        elif not site.has_data(name_file("cell", cell)):
            site.digests.pop(run, None)
        else:
            site.cells[cell] = (run, CellDigest(**row))
    if any(name not in site.places for name in known):
        site.stale |= set(site.cells)
    _find_lost(site, lost)


def _find_lost(site: _Site, lost: set[str]) -> None:
    """Have the newest run read again of each cell whose newest record went with its run."""
    for folder in site.folders:
        digest = site.digests.get(folder.name)
        held = lost & read_cells(site.reports, digest).keys() if lost and digest else set()
        if held:
            del site.digests[folder.name]
            lost = lost - held


def _read_changed(
    site: _Site, runs: Sequence[RunJournal | Path], renew: bool, find: FindDigest | None
) -> RunJournal:
    """Read the runs that are new or have changed, oldest first, and return the newest of all."""
    newest = None
    for place in reversed(range(len(runs))):
        folder = site.folders[place]
        stamp = stamp_of(folder)
        known = site.digests.get(folder.name)
        page = folder / PAGE
        made = page.exists()
        # The stamp of a journal that is not there says nothing.
        is_new = known is None or known.stamp != stamp or stamp == (0, 0)
        wanted = place == 0 or site.everything
        wanted = wanted or (place < PAGES_MADE and (renew or not made))
        wanted = wanted or (made and page.stat().st_mtime_ns < stamp[0])
        if not (is_new or wanted):
            continue
        given = runs[place]
        indexed = find(folder.name) if find and not wanted and place >= RECORDS_KEPT else None
        if indexed is not None:
            sketch, cells = indexed
            digest = digest_sketch(sketch, cells, stamp)
            _take_up(site, sketch.head, digest, cells, place, None if digest.sweeps else ())
            continue
        run = given if isinstance(given, RunJournal) else read_run(given)
        site.hold(run)
        if is_new or place == 0:
            cells = [digest_cell(record) for record in run.records]
            sweeps = build_sweeps(run.records)
            _take_up(site, run.head, digest_run(run, cells, stamp), cells, place, sweeps)
            if place < RECORDS_KEPT:
                texts = {record.cell: record.model_dump_json() for record in run.records}
                write_data(site.reports, name_file("records", folder.name), texts)
        if wanted:
            earlier = [
                site.digests[one.name].summary
                for one in site.folders[place + 1 : place + 1 + EARLIER_SHOWN]
            ]
            html = render_page(
                build_run_page(run, earlier), root="../../", runs="../", newest=place == 0
            )
            replace_file(page, html.encode())
        newest = run
    assert newest is not None
    return newest


def _take_up(
    site: _Site,
    head: Head | None,
    digest: RunDigest,
    cells: Sequence[CellDigest],
    place: int,
    sweeps: Sequence[SweepLine] | None,
) -> None:
    run = digest.summary.name
    site.digests[run] = digest
    write_cells(site.reports, head, digest, cells, sweeps)
    for cell in cells:
        site.stale.add(cell.cell)
        known = site.cells.get(cell.cell)
        if known is None or site.places[known[0]] >= place:
            site.cells[cell.cell] = (run, cell)
            site.newest[cell.cell] = run


def _write_cell_data(
    site: _Site, series: Mapping[tuple[str, str], Series], trends: Sequence[Trend]
) -> None:
    judged = _by_cell(trends)
    for cell in sorted(site.stale & set(site.cells)):
        stem = name_file("cell", cell)
        found = [one for measure in MEASURES if (one := series.get((cell, measure)))]
        newest = _find_newest(site, cell, stem)
        known = site.digests.keys()
        data = build_cell_data(site.cells[cell][1], newest, found, judged.get(cell, ()), known)
        write_data(site.reports, stem, data)
    rows = {cell: (run, vars(digest)) for cell, (run, digest) in site.cells.items()}
    write_data(site.reports, CELLS, {"version": DIGEST_VERSION, "cells": rows})


def _find_newest(site: _Site, cell: str, stem: str) -> dict[str, Any]:
    name = site.newest.get(cell)
    if name is None:
        kept: dict[str, Any] = read_data(site.reports, stem)["newest"]
        return kept
    run = site.run(name)
    record = next(one for one in run.records if one.cell == cell)
    names = (record.dataset, record.algorithm, record.mode)
    siblings = [one for one in run.records if (one.dataset, one.algorithm, one.mode) == names]
    compared = list_comparisons(siblings)
    return build_newest(record, run, siblings, compared, _read_kept(run, record))


def _read_kept(run: RunJournal, record: Record) -> list[Trial]:
    """Return the trials of a sweep that gave no result, as far as they had ended."""
    if record.mode != "sweep" or record.result is not None:
        return []
    path = name_trials(run.folder, record.cell)
    return [] if path is None else read_trials(path)


def _write_pages(
    site: _Site, newest: RunJournal, digests: Sequence[RunDigest], trends: Sequence[Trend]
) -> None:
    reports = site.reports
    summaries = [digest.summary for digest in digests]
    chosen = choose_summary(summaries)
    base = (chosen, read_cells(reports, site.digests[chosen.name])) if chosen else None
    overview = build_overview(newest, summaries, base, trends)
    pages = frozenset(one.name for one in site.folders if (one / PAGE).exists())
    runs = build_runs_page(digests, pages)
    cells = build_cells_page(site.cells, _by_cell(trends), pages, _keep_records(site))
    moments = {digest.summary.name: digest.moment for digest in digests}
    replace_file(reports / FEED, write_feed(trends, moments, digests[0].moment))
    # The overview comes last: whatever it leads to is there.
    for file, template, page in (
        ("cells.html", "cellslist.html", cells),
        ("cell.html", "cell.html", cells),
        ("runs.html", "runs.html", runs),
        ("compare.html", "compare.html", runs),
        (PAGE, "overview.html", overview),
    ):
        here = "cells.html" if file == "cell.html" else file
        html = render(template, page, here=here, steps=STEPS)
        replace_file(reports / file, html.encode())


def _find_runs(site: _Site) -> dict[str, str]:
    """Return the newest run of each dataset; one of sweeps alone where there is no other."""
    found: dict[str, str] = {}
    cells = site.cells.values()
    others = {digest.dataset for _, digest in cells if digest.mode != "sweep"}
    for run, digest in cells:
        if digest.mode == "sweep" and digest.dataset in others:
            continue
        known = found.setdefault(digest.dataset, run)
        found[digest.dataset] = min(known, run, key=site.places.__getitem__)
    return found


def _read_sweeps(site: _Site) -> Iterator[Swept]:
    """Read each sweep's newest record from what its cell's page loads."""
    for cell, (run, digest) in site.cells.items():
        if digest.mode != "sweep":
            continue
        stored = read_data(site.reports, name_file("cell", cell))
        record = parse_line(stored["newest"]["record"]) if stored else None
        if isinstance(record, Record):
            yield Swept(run, record)


def _keep_records(site: _Site) -> dict[str, str]:
    """Return the data files with whole runs' records, by run."""
    stems = {one.name: name_file("records", one.name) for one in site.folders[:RECORDS_KEPT]}
    return {name: stem for name, stem in stems.items() if site.has_data(stem)}


def _remove_strays(site: _Site) -> None:
    """Remove the data of runs and cells that are no more, and the records of older runs."""
    kept = {name_file("cell", cell) for cell in site.cells} | set(_keep_records(site).values())
    kept |= {digest.stem for digest in site.digests.values()}
    for kind in ("cell", "run", "records"):
        for path in (site.reports / DATA).glob(f"{kind}-*.js"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)


def _by_cell(trends: Sequence[Trend]) -> dict[str, list[Trend]]:
    found: dict[str, list[Trend]] = {}
    for trend in trends:
        found.setdefault(trend.cell, []).append(trend)
    return found


def _folder_of(run: RunJournal | Path) -> Path:
    return run.folder if isinstance(run, RunJournal) else run
