"""Write the pages of datasets, algorithms and frameworks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.report import columns, diagrams
from harness.report.datasetpage import CELL_NUMBERS, FOLDER, LINE_NUMBERS, build_datasets
from harness.report.files import replace_file
from harness.report.frame import render
from harness.report.profiles import gather_profiles
from harness.report.rankingpage import Subject, build_ranking_page
from harness.report.reference import RUNS_LOOKED, Reference, choose_reference
from harness.report.tuned import Swept
from harness.store.journal import RunJournal, read_run
from harness.trends.ranks import TIE

SUBJECTS: tuple[Subject, ...] = ("algorithms", "frameworks")


def write_comparisons(
    reports: Path,
    runs: Sequence[RunJournal | Path],
    sizes: Sequence[int],
    newest: Mapping[str, str],
    sweeps: Sequence[Swept] = (),
) -> None:
    """Write the pages that put cells beside each other.

    ``runs`` stand newest first, ``sizes`` are their numbers of cells whose framework was there,
    sweeps apart, and ``newest`` is the newest run of each dataset. A dataset that the reference
    run has not is shown as its own newest run has it, if that is among the newest
    ``RUNS_LOOKED``. ``sweeps`` are the newest of each cell, from whichever run.
    """
    known: dict[str, RunJournal] = {}
    folders = {_name(run): run for run in runs[:RUNS_LOOKED]}

    def read(name: str) -> RunJournal:
        if name not in known:
            run = folders[name]
            known[name] = run if isinstance(run, RunJournal) else read_run(run)
        return known[name]

    place = choose_reference(sizes)
    reference = _refer(read(list(folders)[place]), place)
    references = {record.dataset: reference for record in reference.records}
    for dataset, run in sorted(newest.items()):
        if dataset in references or run not in folders:
            continue
        found = _refer(read(run), 0)
        if found.of_dataset(dataset):
            references[dataset] = found
    _write_datasets(reports, references, sweeps)
    for subject in SUBJECTS:
        page = build_ranking_page(subject, reference)
        file = f"{subject}.html"
        html = render(
            "ranking.html",
            page,
            here=file,
            plot=diagrams.PLOT,
            plot_height=diagrams.PLOT_HEIGHT,
            tie=TIE,
        )
        replace_file(reports / file, html.encode())


def _name(run: RunJournal | Path) -> str:
    return run.folder.name if isinstance(run, RunJournal) else run.name


def _refer(run: RunJournal, passed_over: int) -> Reference:
    started = run.head.started if run.head else None
    return Reference(run.folder.name, started, run.records, passed_over)


def _write_datasets(
    reports: Path, references: Mapping[str, Reference], sweeps: Sequence[Swept]
) -> None:
    records = [one for name in references for one in references[name].of_dataset(name)]
    index, pages = build_datasets(references, gather_profiles(reports, records), sweeps)
    shared: dict[str, Any] = {
        "line_numbers": LINE_NUMBERS,
        "cell_numbers": CELL_NUMBERS,
        "column_numbers": columns.NUMBER_COLUMNS,
        "bars": (columns.WIDTH, columns.HEIGHT),
    }
    links = {line.name: line.link for line in index.lines}
    for page in pages:
        html = render("dataset.html", page, here="datasets.html", root="../", **shared)
        replace_file(reports / links[page.name], html.encode())
    for old in (reports / FOLDER).glob("dataset-*.html"):
        if f"{FOLDER}/{old.name}" not in links.values():
            old.unlink(missing_ok=True)
    html = render("datasets.html", index, here="datasets.html", **shared)
    replace_file(reports / "datasets.html", html.encode())
