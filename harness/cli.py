"""Offer `mlmatrix …`: the data room's commands, the frameworks' health, the report page."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ml.core.errors import MatrixError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; a user's mistake is one line and status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["data"]:
        return _data(given[1:])
    parser = argparse.ArgumentParser(prog="mlmatrix", description="pytest for models")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("data", help="list, show, describe and materialise datasets")
    frameworks = commands.add_parser(
        "frameworks", help="what is installed, and does it train a tiny model"
    )
    frameworks.add_argument("--device", metavar="NAME", help="auto, cpu or cuda")
    frameworks.add_argument("--threads", metavar="N", help="threads of each worker")
    frameworks.add_argument("--deterministic", action=argparse.BooleanOptionalAction)
    frameworks.add_argument("--compilation", metavar="WHEN", help="auto, always or never")
    report = commands.add_parser("report", help="make reports/index.html from the journals again")
    report.add_argument("--reports", default="reports", metavar="DIR", help="default: reports")
    options = parser.parse_args(given)
    try:
        if options.command == "frameworks":
            return _frameworks(options)
        return _report(Path(options.reports))
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _data(arguments: list[str]) -> int:
    # The data room lies beyond the wall: it is a process of its own, reached by its arguments.
    return subprocess.call([sys.executable, "-m", "ml.datasets", *arguments])  # noqa: S603


def _frameworks(options: argparse.Namespace) -> int:
    from harness.execute.local import LocalExecutor
    from harness.health import check_frameworks, describe_health
    from harness.runtime import KEYS, find_root, gather_runtime, settle_runtime

    root = find_root(Path.cwd())
    arguments = {key: getattr(options, key) for key in KEYS}
    runtime = settle_runtime(gather_runtime(root, os.environ, arguments, "--"))
    with tempfile.TemporaryDirectory() as folder:
        executor = LocalExecutor(Path(folder), runtime)
        try:
            found = list(check_frameworks(executor, runtime))
        finally:
            executor.close()
    print("\n".join(describe_health(found)))
    return int(any(one.health not in ("ok", "missing") for one in found))


def _report(reports: Path) -> int:
    from harness.report.site import write_site
    from harness.store.journal import list_runs, read_run

    runs = [read_run(folder) for folder in list_runs(reports)]
    if not runs:
        raise MatrixError(
            f"there are no runs in {reports / 'runs'}",
            remedy="run `pytest -m slow_matrix` first, or name another folder with --reports",
        )
    print(write_site(reports, runs))
    return 0
