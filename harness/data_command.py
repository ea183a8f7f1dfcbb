"""Check tables from the shell: `mlmatrix data check` and `mlmatrix data sketch`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.check_progress import CheckProgress
from harness.checking import check_tables, keep_sketch
from harness.healthwords import describe_check
from harness.report.files import replace_file
from harness.report.text import count, write_seconds
from ml.core.errors import MatrixError
from ml.health.exchange import CheckRequest, HealthCheck, SketchRequest

COMMANDS = ("check", "sketch")


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 1 for a collapsed candidate, 2 for a mistake, else 0."""
    options = _parser().parse_args(arguments)
    try:
        return _check(options) if options.command == "check" else _sketch(options)
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlmatrix data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="does a table still carry what its reference carried")
    check.add_argument(
        "candidate", metavar="CANDIDATE", help="the path or URL of a table, or a dataset's id"
    )
    check.add_argument(
        "--against",
        required=True,
        metavar="REFERENCE",
        help="the same, or the folder of a stored sketch",
    )
    check.add_argument("--html", type=Path, metavar="FILE", help="write a page of what was found")
    check.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    check.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="SD",
        help="smooth numbers by so many standard deviations (default: 0)",
    )
    check.add_argument(
        "--alpha",
        type=float,
        default=0.02,
        metavar="P",
        help="share of healthy tables that are called different (default: 0.02)",
    )
    check.add_argument("--incidents", metavar="FILE", help="kinds of damage of your own, as JSON")
    sketch = commands.add_parser("sketch", help="keep a reference's sketch, to check without it")
    sketch.add_argument(
        "table", metavar="TABLE", help="the path or URL of a table, or a dataset's id"
    )
    sketch.add_argument(
        "folder", metavar="FOLDER", help="a new folder, or that of an earlier sketch"
    )
    for command in (check, sketch):
        command.add_argument(
            "--group", metavar="COLUMN", help="rows with one value of it belong together"
        )
        command.add_argument(
            "--seed",
            type=int,
            default=0,
            metavar="N",
            help="of sampling and permuting (default: 0)",
        )
        command.add_argument(
            "--data",
            action="append",
            default=[],
            metavar="DIR",
            help="a further folder of descriptors; may be repeated",
        )
    return parser


def _check(options: argparse.Namespace) -> int:
    request = CheckRequest(
        reference=options.against,
        candidate=options.candidate,
        group=options.group,
        tolerance=_finite(options.tolerance, "--tolerance"),
        alpha=_finite(options.alpha, "--alpha"),
        seed=options.seed,
        data=tuple(options.data),
        incidents=options.incidents,
    )
    for path in (options.html, options.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise MatrixError(
                f"{path} cannot be written",
                expected="a file in a folder that is there",
                remedy=f"make {path.absolute().parent} first",
            )
    with CheckProgress(sys.stderr) as progress:
        check = check_tables(request, progress.tell)
    print("\n".join(describe_check(check)))
    if options.json is not None:
        _write(options.json, check.model_dump_json(indent=1))
    if options.html is not None:
        _write(options.html, _render(check))
    sys.stdout.flush()
    return int(check.verdict == "collapsed")


def _finite(value: float, option: str) -> float:
    if not abs(value) < float("inf"):
        raise MatrixError(f"{option} {value} is no number", expected="a number")
    return value


def _render(check: HealthCheck) -> str:
    from harness.report.healthpage import render_check

    return render_check(check)


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path.absolute(), text.encode())
    except OSError as problem:
        raise MatrixError(f"{path} cannot be written: {problem.strerror}") from None
    print(path)


def _sketch(options: argparse.Namespace) -> int:
    request = SketchRequest(
        table=options.table,
        folder=options.folder,
        group=options.group,
        seed=options.seed,
        data=tuple(options.data),
    )
    with CheckProgress(sys.stderr) as progress:
        kept = keep_sketch(request, progress.tell)
    print(
        f"{kept.folder}: {kept.rows:,} rows, {count(kept.columns, 'column')}, "
        f"{write_seconds(kept.seconds)}"
    )
    return 0
