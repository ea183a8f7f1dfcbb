"""Offer the commands that look back over all runs: list, follow a cell, compare, export, prune."""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.core.errors import MatrixError

if TYPE_CHECKING:
    from harness.store.index import Index
    from harness.store.rows import ResultRow, RunRow

MOST_DAMAGE = 5
# Those of a sweep that have one value each.
SWEEP_OPTIONS = {
    "trials": ("N", "the model as declared being one (default: 20)"),
    "sampler": ("NAME", "how settings are found (default: tpe)"),
    "pruner": ("NAME", "how poor trials end early (default: successive_halving)"),
    "epochs": ("N", "of all trials together, at most"),
    "seconds": ("S", "of each search, at most"),
    "patience": ("N", "trials without a better one, after which the search ends"),
    "batch": ("N", "trials that are asked for at once (default: 8)"),
    "folds": ("N", "validation parts on which a trial is tried (default: 1)"),
    "replicates": ("N", "trainings of the winner (default: 3)"),
    "rows": ("N", "rows used at most (default: 10000)"),
    "resume": ("RUN", "go on with a run that was cut off"),
}
Commands = Any  # what argparse returns for subparsers has no public name


def add_commands(commands: Commands) -> None:
    """Declare the commands, each with the function that runs it."""
    from harness.judgements import show_trends, update_baselines

    runs = commands.add_parser("runs", help="all runs, the newest first")
    history = commands.add_parser("history", help="how a cell did in all runs")
    history.add_argument("cell", metavar="CELL", help="dataset-algorithm-framework-mode")
    history.add_argument("--measure", default=None, metavar="NAME", help="default: score")
    trends = commands.add_parser("trends", help="what changed for good or ill, and what may be why")
    trends.add_argument("--cell", default="*", metavar="GLOB", help="only cells whose id matches")
    baseline = commands.add_parser("baseline", help="the bands that scores are held to")
    baseline.add_argument("action", choices=("update",), help="propose what history has to say")
    baseline.add_argument("--cell", default="*", metavar="GLOB", help="only cells whose id matches")
    baseline.add_argument("--dry-run", action="store_true", help="write nothing, print the diff")
    compare = commands.add_parser("compare", help="what differs from one run to another")
    compare.add_argument("before", metavar="RUN_A", help="a run's name")
    compare.add_argument("after", metavar="RUN_B", help="a run's name")
    export = commands.add_parser("export", help="a row for each cell of each run, as a table")
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", metavar="FILE", help="- is the standard output")
    target.add_argument("--parquet", metavar="FILE")
    prune = commands.add_parser("prune", help="remove old runs")
    rule = prune.add_mutually_exclusive_group(required=True)
    rule.add_argument("--keep", type=_positive, metavar="N", help="keep the newest N runs")
    rule.add_argument("--keep-days", type=_days, metavar="D", help="keep those of the last D days")
    prune.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be")
    sweep = commands.add_parser("sweep", help="search for a model's best settings")
    for side in ("dataset", "algorithm", "framework"):
        text = "comma separated" + (" (default: all that have it)" if side == "framework" else "")
        needed = side != "framework"
        sweep.add_argument(
            f"--{side}", action="append", required=needed, metavar="NAMES", help=text
        )
    for option, (metavar, text) in SWEEP_OPTIONS.items():
        whole = option in ("epochs", "patience", "batch")
        sweep.add_argument(f"--{option}", metavar=metavar, help=text, type=int if whole else str)
    imported = commands.add_parser("import", help="keep pytest-benchmark's JSON as a run")
    imported.add_argument("file", metavar="FILE", help="as pytest-benchmark writes it")
    for command, run in (
        (runs, _runs),
        (history, _history),
        (trends, show_trends),
        (baseline, update_baselines),
        (compare, _compare),
        (export, _export),
        (prune, _prune),
        (imported, _import),
        (sweep, _sweep),
    ):
        command.set_defaults(run=run)
        if command in (runs, history, trends, compare, prune, sweep):
            forms = ("text", "md", "json") if command is compare else ("text", "json")
            command.add_argument("--format", choices=forms, default="text", help="default: text")
        command.add_argument("--reports", default="reports", metavar="DIR", help="default: reports")


def run_command(options: argparse.Namespace) -> int:
    """Run the command that was declared with its function; return its exit status."""
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1: the newest run is never removed")
    return number


def _days(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError("a number of days, at least 0")
    return number


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[Index]:
    from harness.store.index import INDEX, open_index

    reports = Path(options.reports)
    try:
        with open_index(reports) as index:
            yield index
    except sqlite3.Error as problem:
        raise MatrixError(
            f"{reports / INDEX}: {problem}",
            remedy="delete it: it is made again from the journals",
        ) from None


def _tell_damage(*runs: RunRow) -> None:
    damage = [text for run in runs for text in run.damage]
    for text in damage[:MOST_DAMAGE]:
        print(f"damaged: {text}", file=sys.stderr)
    if len(damage) > MOST_DAMAGE:
        print(f"damaged: {len(damage) - MOST_DAMAGE} more lines", file=sys.stderr)


def _print_json(values: Any) -> None:
    print(json.dumps(values, indent=2, ensure_ascii=False))


def _runs(options: argparse.Namespace) -> int:
    from harness.views import describe_runs, runs_as_json

    with _open(options) as index:
        runs, totals = index.runs(), index.totals()
        if not runs:
            index.run(None)
    _tell_damage(*runs)
    if options.format == "json":
        _print_json(runs_as_json(runs, totals))
    else:
        print("\n".join(describe_runs(runs, totals)))
    return 0


def _history(options: argparse.Namespace) -> int:
    from harness.views import describe_history, history_as_json

    with _open(options) as index:
        results = index.results_of_cell(options.cell)
        measure = options.measure or _default_measure(results)
        series = index.series(options.cell, measure)
        runs = {run.name: run for run in index.runs()}
    _tell_damage(*(runs[name] for name in results))
    if options.format == "json":
        _print_json(history_as_json(series, results))
    else:
        print("\n".join(describe_history(series, results, runs)))
    return 0


def _default_measure(results: dict[str, ResultRow]) -> str:
    # A benchmark has no score, and nothing but seconds.
    is_benchmark = all(row.metric is None and row.outcome == "ok" for row in results.values())
    return "seconds" if results and is_benchmark else "score"


def _compare(options: argparse.Namespace) -> int:
    from harness.store.compare import compare_runs
    from harness.views import describe_comparison, summarize_comparison

    with _open(options) as index:
        before, after = index.run(options.before), index.run(options.after)
        old, new = index.results_of_run(before.name), index.results_of_run(after.name)
    _tell_damage(before, after)
    compared = compare_runs(before, after, old, new)
    if options.format == "json":
        _print_json(asdict(replace(compared, before=_brief(before), after=_brief(after))))
    elif options.format == "md":
        print(summarize_comparison(compared))
    else:
        print("\n".join(describe_comparison(compared)))
    return 0


def _brief(run: RunRow) -> RunRow:
    return replace(run, parts=dict(run.parts))


def _export(options: argparse.Namespace) -> int:
    from harness.export import export_csv, export_parquet

    with _open(options) as index:
        _tell_damage(*index.runs())
        if options.csv is not None:
            number = export_csv(index, options.csv)
        else:
            number = export_parquet(index, options.parquet)
    if options.csv != "-":
        print(f"{number} rows in {options.csv or options.parquet}")
    return 0


def _prune(options: argparse.Namespace) -> int:
    from harness.store.prune import choose_old, remove_runs
    from harness.views import describe_removals

    reports = Path(options.reports)
    with _open(options) as index:
        runs = index.runs()
        if not runs:
            index.run(None)
        old = choose_old(reports, runs, options.keep, options.keep_days, datetime.now(UTC))
        removals = remove_runs(reports, old, options.dry_run)
        index.refresh()
    if options.format == "json":
        _print_json({"dry_run": options.dry_run, "runs": [asdict(one) for one in removals]})
    else:
        print("\n".join(describe_removals(removals, len(runs), options.dry_run)))
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from harness.sweep_command import run_sweep

    return run_sweep(options)


def _import(options: argparse.Namespace) -> int:
    from harness.report.text import count
    from harness.store.benchmarks import import_benchmarks

    run, number = import_benchmarks(Path(options.file), Path(options.reports))
    if number is None:
        print(f"run {run} has these timings already")
    else:
        print(f"{count(number, 'timing')} kept as run {run}")
    return 0
