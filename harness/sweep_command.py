"""Run sweeps as `mlmatrix sweep` does: an ordinary run, shown as it goes, told at its end."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.catalog.product import Catalog
from harness.cell import Cell
from harness.extensions import gather
from harness.markers import MatrixMarker, near_miss
from harness.options import Settings, read_settings
from harness.publish import publish
from harness.report.sweeps import compare_tuned, find_trial
from harness.report.text import NOTHING, count
from harness.reporter import name_run
from harness.session import MatrixSession
from harness.store.environment import describe_resumption, describe_run
from harness.store.journal import JOURNAL, Journal, check_version, find_run, hold_run, now
from harness.store.record import End, Record
from harness.store.trials import place_trials
from harness.sweep_progress import Progress, Row, stand, write_value
from harness.terminal import explain_failure, lay_out
from ml.core.contracts import SweepSpec
from ml.core.errors import MatrixError

SIDES = ("dataset", "algorithm", "framework")
# Which of our options stand for which of pytest's.
OPTIONS = {
    "trials": "trials",
    "sampler": "sampler",
    "pruner": "pruner",
    "folds": "folds",
    "seconds": "sweep-seconds",
    "replicates": "replicates",
    "rows": "rows",
}
LIMITS = ("epochs", "patience", "batch")
# A search without a limit of time ends by its trials; what takes a day hangs.
LONGEST = 86_400
COLUMNS = ("cell", "metric", "tuned", "default", "trials", "pruned", "failed", "seconds")


def run_sweep(options: argparse.Namespace) -> int:
    """Run the sweeps, and return 0, or 1 where one has failed, or 2 where it was interrupted.

    The datasets, algorithms and ini values are those of the project in whose folder it is called:
    pytest reads them, and runs no tests. Raises MatrixError for a user's mistake.
    """
    project = _Project(options)
    said = StringIO()
    with redirect_stderr(said):
        pytest.main(_arguments(options), plugins=[project])
    if project.status is None:
        text = " ".join(said.getvalue().removeprefix("ERROR: ").split())
        raise MatrixError(f"pytest cannot read this project: {text}")
    return project.status


class _Project:
    """Run the sweeps where pytest would begin its session."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stderr = sys.stderr
        self.status: int | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Do what was asked for in place of a session of tests."""
        with redirect_stderr(self._stderr):
            self.status = _run(self._options, config)
        return 0


def _arguments(options: argparse.Namespace) -> list[str]:
    """Return pytest's arguments, under which it reads the settings of the project."""
    given = {name: getattr(options, name) for name in OPTIONS}
    seconds, timeout = given["seconds"], LONGEST
    if seconds is None:
        given["seconds"] = "0"
    else:
        # What is no number, the reader of settings refuses.
        with suppress(ValueError, OverflowError):
            timeout = 600 + 2 * int(float(seconds)) if float(seconds) else LONGEST
    arguments = [
        f"--matrix-{OPTIONS[name]}={value}" for name, value in given.items() if value is not None
    ]
    reports = Path(options.reports).resolve()
    return [
        "--capture=no",
        *arguments,
        f"--matrix-timeout={timeout}",
        f"--matrix-reports={reports}",
    ]


def _run(options: argparse.Namespace, config: pytest.Config) -> int:
    try:
        settings = read_settings(config)._replace(executor="local", isolation="warm")
        extensions = gather(config)
    except (pytest.UsageError, ValueError) as problem:
        raise MatrixError(_in_own_words(str(problem))) from None
    with _open_journal(options, settings) as journal:
        try:
            session = MatrixSession(settings, journal, False, extensions)
        except ValueError as problem:
            raise MatrixError(str(problem)) from None
        try:
            return _sweep(options, session, journal)
        finally:
            session.close()


def _in_own_words(text: str) -> str:
    """Return what is wrong with pytest's options by the names of ours."""
    for ours, theirs in OPTIONS.items():
        name = theirs.replace("-", "_")
        text = text.replace(f"--matrix-{theirs} / matrix_{name}", f"--{ours}")
        text = text.replace(f"--matrix-{theirs}", f"--{ours}")
    return text


@contextmanager
def _open_journal(options: argparse.Namespace, settings: Settings) -> Iterator[Journal]:
    """Open a new run's journal, in which nothing is written yet, or that of a run to resume."""
    handle = None
    if options.resume is None:
        folder, resumed_at = settings.reports / "runs" / name_run(), None
    else:
        folder = find_run(settings.reports, options.resume)
        handle = hold_run(folder)
        check_version(folder)
        resumed_at = (folder / JOURNAL).stat().st_size
    command = tuple(_command(options))
    yield Journal(
        folder,
        lambda name: describe_run(name, settings.root, command, settings.runtime),
        resumed_at,
    )
    if handle is not None:
        os.close(handle)


def _command(options: argparse.Namespace) -> list[str]:
    """Return the command that was given, without the run that it resumes."""
    parts = ["mlmatrix", "sweep"]
    for name in (*SIDES, *OPTIONS, *LIMITS):
        value = getattr(options, name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        parts += [part for one in values for part in (f"--{name}", str(one))]
    if options.reports != "reports":
        parts += ["--reports", options.reports]
    return parts


def _sweep(options: argparse.Namespace, session: MatrixSession, journal: Journal) -> int:
    cells, left_out = _choose(options, session)
    started = time.perf_counter()
    if options.resume is not None:
        root, command = session.settings.root, tuple(_command(options))
        journal.resume(describe_resumption(root, command))
    journal.begin()
    handle = None if options.resume is not None else hold_run(journal.folder)
    rows = [Row(cell, place_trials(journal.folder, cell.id)) for cell in cells]
    stream = sys.stderr if options.format == "json" else sys.stdout
    print(f"run {journal.run}: {count(len(cells), 'sweep')}", file=stream, flush=True)
    for line in left_out:
        print(f"left out: {line}", file=stream, flush=True)
    interrupted = False
    try:
        with Progress(rows, stream) as progress:
            for row in rows:
                progress.begin(row)
                progress.end(row, session.record(row.cell))
    except KeyboardInterrupt:
        interrupted = True
    records = [row.record for row in rows if row.record is not None]
    asked = options.framework is not None
    failed = any(_has_failed(record, asked) for record in records)
    status = 2 if interrupted else int(failed)
    journal.append(End(finished=now(), exit_status=status, seconds=time.perf_counter() - started))
    if handle is not None:
        os.close(handle)
    page = _publish(journal.folder.parents[1])
    if options.format == "json":
        values = {"run": journal.run, "cells": [_as_json(one) for one in records], "report": page}
        print(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        print(
            "\n".join(["", *describe_sweeps(records), "", *([f"report: {page}"] if page else [])])
        )
    if interrupted:
        left = count(len(cells) - len(records), "sweep")
        command_line = shlex.join([*_command(options), f"--resume={journal.run}"])
        print(f"{left} not ended; to go on: {command_line}", file=stream)
    return status


def _has_failed(record: Record, asked: bool) -> bool:
    return asked if record.outcome == "unavailable" else record.failed


def _publish(reports: Path) -> str | None:
    try:
        return str(publish(reports))
    except Exception as problem:  # noqa: BLE001 - a page must not cost the results
        print(f"no report page: {problem}", file=sys.stderr)
        return None


def _choose(options: argparse.Namespace, session: MatrixSession) -> tuple[list[Cell], list[str]]:
    """Return the cells that were asked for, and why others of the product are none."""
    catalog = session.catalog
    names = {side: _names(options, side, catalog) for side in SIDES}
    left_out = list(_left_out(names, catalog))
    marker = MatrixMarker(**names, mode=("sweep",))
    try:
        cells = [cell for cell in session.select(marker) if isinstance(cell, Cell)]
    except ValueError as problem:
        raise MatrixError(
            "; ".join(left_out) or str(problem),
            expected="an algorithm with a search space, on a dataset of a task that it is made for",
            remedy="`pytest --matrix-list` lists both",
        ) from None
    limits = {name: value for name in LIMITS if (value := getattr(options, name)) is not None}
    try:
        return [_limit(cell, limits) for cell in cells], left_out
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise MatrixError(
            f"--{first['loc'][0]}: {first['msg']}", received=str(first["input"])
        ) from None


def _limit(cell: Cell, limits: dict[str, int]) -> Cell:
    assert cell.sweep is not None
    return replace(cell, sweep=SweepSpec.model_validate({**dict(cell.sweep), **limits}))


def _names(options: argparse.Namespace, side: str, catalog: Catalog) -> tuple[str, ...]:
    """Return the names that an option lists; raises MatrixError for one that there is none of."""
    given = [name.strip() for text in getattr(options, side) or () for name in text.split(",")]
    names = tuple(dict.fromkeys(filter(None, given)))
    for broken in catalog.broken:
        if side == "dataset" and broken.path.stem in names:
            raise MatrixError(f"--dataset: {broken.path}: {broken.reason}")
    choices = catalog.choices[side]
    for name in names:
        if name not in choices:
            raise MatrixError(
                f"--{side}: there is no {side} {name!r}{near_miss(name, choices)}",
                expected=f"one of {', '.join(choices)}",
            )
    return names


def _left_out(names: dict[str, tuple[str, ...]], catalog: Catalog) -> Iterator[str]:
    """Say of what was asked for why it makes no cell."""
    for algorithm in names["algorithm"]:
        entries = [e for e in catalog.algorithms if e.id == algorithm]
        for framework in names["framework"]:
            if not any(entry.framework == framework for entry in entries):
                yield f"there is no {algorithm} of {framework}"
        asked = [e for e in entries if not names["framework"] or e.framework in names["framework"]]
        if asked and not any(entry.space for entry in asked):
            yield f"{algorithm} has no search space"
            continue
        tasks = {task for entry in asked for task in entry.tasks}
        for dataset in catalog.datasets:
            if asked and dataset.id in names["dataset"] and dataset.task not in tasks:
                yield f"{algorithm} on {dataset.id}: it is made for {' and '.join(sorted(tasks))}"


def describe_sweeps(records: Sequence[Record]) -> list[str]:
    """Return the table of tuned models and default ones, then settings, then what failed."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    settings, failed = [], []
    for record in records:
        values = _as_json(record)
        trials = NOTHING if values["trials"] is None else str(values["trials"])
        counts = (
            str(values[name]) if values["trials"] else NOTHING for name in ("pruned", "failed")
        )
        rows.append(
            (
                record.cell,
                values["metric"] or record.outcome,
                write_value(values["tuned"]),
                write_value(values["default"]),
                trials,
                *counts,
                f"{record.seconds:.1f}",
            )
        )
        if values["settings"]:
            found = ", ".join(f"{name} {_write(one)}" for name, one in values["settings"].items())
            settings.append(f"{record.cell}: {found}")
        if record.failed:
            failed.append(explain_failure(record))
    lines = lay_out(rows, left=2) if records else ["no sweep has ended"]
    return [*lines, *([""] if settings else []), *settings, *([""] if failed else []), *failed]


def _write(setting: Any) -> str:
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def _as_json(record: Record) -> dict[str, Any]:
    """Return a sweep's record in short: metrics are means over the replicates' test rows."""
    result = record.result
    sweep = result.sweep if result else None
    standing = stand(sweep.trials, bool(result and result.greater_is_better)) if sweep else None
    best = find_trial(sweep, sweep.best) if sweep else None
    return {
        "cell": record.cell,
        "outcome": record.outcome,
        "reason": record.reason,
        "metric": result.metric if result else None,
        "greater_is_better": result.greater_is_better if result else None,
        "tuned": record.score.value if record.score else None,
        "default": compare_tuned(result, sweep).default if result and sweep else None,
        "settings": best.settings if best else None,
        "trials": standing.trials if standing else None,
        "pruned": standing.pruned if standing else None,
        "failed": standing.failed if standing else None,
        "ended": sweep.ended if sweep else None,
        "epochs": sweep.epochs if sweep else None,
        "seconds": record.seconds,
    }
