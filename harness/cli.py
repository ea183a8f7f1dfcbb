"""Offer `mlmatrix …`: the data room, the frameworks' health and parity, what changed, all runs."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ml.core.errors import MatrixError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; a user's mistake is one line and status 2."""
    from harness.commands import add_commands

    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["data"]:
        return _data(given[1:])
    parser = argparse.ArgumentParser(prog="mlmatrix", description="pytest for models")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "data", help="list, show, describe and materialise datasets; check and sketch tables"
    )
    frameworks = commands.add_parser(
        "frameworks", help="what is installed, and does it train a tiny model"
    )
    frameworks.add_argument("--device", metavar="NAME", help="auto, cpu or cuda")
    frameworks.add_argument("--threads", metavar="N", help="threads of each worker")
    frameworks.add_argument("--deterministic", action=argparse.BooleanOptionalAction)
    frameworks.add_argument("--compilation", metavar="WHEN", help="auto, always or never")
    frameworks.add_argument(
        "--models-at-once", metavar="N", help="models trained as one computation at most, 0: auto"
    )
    report = commands.add_parser("report", help="make the site from the journals again")
    report.add_argument("--open", action="store_true", help="open it in the browser")
    report.add_argument(
        "--all", action="store_true", help="read every run again and make every page anew"
    )
    parity = commands.add_parser("parity", help="how far the frameworks are apart, rung by rung")
    parity.add_argument("run", nargs="?", metavar="RUN", help="a run's name (default: the newest)")
    parity.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    why = commands.add_parser("why", help="what changed for a cell since its last record")
    why.add_argument("cell", metavar="CELL", help="dataset-algorithm-framework-mode")
    for command in (report, parity, why):
        command.add_argument("--reports", default="reports", metavar="DIR", help="default: reports")
    add_commands(commands)
    # What follows -- is for pytest, and none of ours.
    own, *rest = _split(given)
    options = parser.parse_args(own)
    if rest and options.command != "why":
        parser.error("arguments after -- belong to `mlmatrix why CELL` alone")
    try:
        status = _run(options, rest[0] if rest else None)
        sys.stdout.flush()
        return status
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read along has seen enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace, rest: list[str] | None) -> int:
    from harness.commands import run_command

    if options.command == "why":
        return _why(options.cell, Path(options.reports), rest)
    if options.command == "parity":
        return _parity(Path(options.reports), options.run, options.format)
    if options.command == "frameworks":
        return _frameworks(options)
    if options.command == "report":
        return _report(Path(options.reports), everything=options.all, show=options.open)
    return run_command(options)


def _split(arguments: list[str]) -> list[list[str]]:
    if "--" not in arguments:
        return [arguments]
    place = arguments.index("--")
    return [arguments[:place], arguments[place + 1 :]]


def _why(cell: str, reports: Path, arguments: list[str] | None) -> int:
    from harness.why import explain_cell

    print("\n".join(explain_cell(cell, reports, arguments)))
    return 0


def _data(arguments: list[str]) -> int:
    if arguments[:1] in (["check"], ["sketch"]):
        from harness.data_command import main as check_data

        return check_data(arguments)
    if arguments[:1] == ["recommend"]:
        from harness.recommend_command import main as recommend

        return recommend(arguments)
    # The data room lies beyond the wall: it is a process of its own, reached by its arguments.
    return subprocess.call([sys.executable, "-m", "ml.datasets", *arguments])  # noqa: S603


def _frameworks(options: argparse.Namespace) -> int:
    from harness.execute.local import LocalExecutor
    from harness.health import check_frameworks, describe_health
    from harness.runtime import KEYS, find_root, gather_runtime, settle_runtime

    root = find_root(Path.cwd())
    arguments = {key: getattr(options, key, None) for key in KEYS}
    runtime = settle_runtime(gather_runtime(root, os.environ, arguments, "--"))
    with tempfile.TemporaryDirectory() as folder:
        executor = LocalExecutor(Path(folder), runtime)
        try:
            found = list(check_frameworks(executor, runtime))
        finally:
            executor.close()
    print("\n".join(describe_health(found)))
    return int(any(one.health not in ("ok", "missing") for one in found))


def _parity(reports: Path, name: str | None, form: str) -> int:
    from harness.store.journal import find_run, read_run
    from harness.store.ladder import list_comparisons
    from harness.terminal import describe_ladder, ladder_as_json

    folder = find_run(reports, name)
    run = read_run(folder)
    for text in run.damage:
        print(f"damaged: {text}", file=sys.stderr)
    compared = list_comparisons(run.records)
    if not compared:
        raise MatrixError(
            f"run {folder.name} compared no two frameworks",
            expected="the same network trained in two frameworks of the run",
            remedy="run `pytest -m slow_matrix` with pytorch, tensorflow and jax",
        )
    if form == "json":
        print(json.dumps(ladder_as_json(folder.name, compared), indent=2, ensure_ascii=False))
    else:
        print("\n".join([f"run {folder.name}", *describe_ladder(compared)]))
    return int(any(one.state == "failed" for one in compared))


def _report(reports: Path, *, everything: bool, show: bool) -> int:
    import webbrowser

    from harness.publish import publish

    index = publish(reports, everything=everything)
    print(index)
    if show and not webbrowser.open(index.resolve().as_uri()):
        print("no browser could be opened; open the page by its path", file=sys.stderr)
    return 0
