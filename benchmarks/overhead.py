"""Measure what the plugin costs by itself: ``python benchmarks/overhead.py``.

Three tables, each form a process of its own, all forms interleaved, medians of the rounds, in
milliseconds; the CPU of the last two includes children. The limit that is asked of us stands
beside.

1. A cell whose worker does nothing: the whole of its test (request, warm worker, answer,
   judgement, journal, report) less an empty test of pytest. Wall time, and CPU of the process of
   pytest. Beside it a forked process per test, which is the rawest form of what pytest-isolate
   does (its 0.0.17 fails under pytest 9.2), and ``benchopt run`` with joblib's loky, from the
   end of a run to the end of the next (two jobs, for with one it has no process apart).
2. To collect 10,000 cells, of 100 descriptors and 100 algorithms of a conftest.py, and as many
   cases of ``pytest.mark.parametrize``.
3. A session of one test with the plugin installed, and without it (``-p no:mlmatrix``). Before it
   the modules of the plugin are compiled, as pip compiles them when it installs them.

``pip install 'pytest-mlmatrix[sklearn,benchmark]'`` brings benchopt; where it is not installed, its
line says so.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from overhead_projects import (
    ALGORITHMS,
    CELLS,
    DATASET,
    DESCRIPTOR,
    FORKED,
    NOOP,
    OBJECTIVE,
    PLAIN,
    SOLVER,
    STOPWATCH,
    WORKER,
)

ROOT = Path(__file__).parents[1]
JOBS = 2
TABLES = ("--matrix-data", "tables")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Form:
    """Hold a command and the folder in which it is run."""

    name: str
    folder: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Hold wall and CPU seconds."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def measure(
    forms: Iterable[Form], rounds: int, take: Callable[[Form], None] = lambda form: None
) -> dict[str, list[Cost]]:
    """Run all forms once a round, and ``take`` what each wrote; the first round is not counted."""
    everything = list(forms)
    costs: dict[str, list[Cost]] = {form.name: [] for form in everything}
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installation: what pytest and Python compile is kept.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(rounds + 1):
            for form in everything:
                cost = run(form, environment)
                if number:
                    costs[form.name].append(cost)
                    take(form)
                else:
                    (form.folder / "times.txt").unlink(missing_ok=True)
    return costs


def run(form: Form, environment: Mapping[str, str]) -> Cost:
    """Return what the form's process cost, with all that it started and waited for."""
    # A page shows all runs of its folder; each session begins with none.
    shutil.rmtree(form.folder / "reports", ignore_errors=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        form.command, cwd=form.folder, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(
            f"{form.name} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def median(costs: Iterable[Cost]) -> Cost:
    """Return the medians of both times."""
    found = list(costs)
    return Cost(statistics.median(c.wall for c in found), statistics.median(c.cpu for c in found))


def make_project(folder: Path, cells: str, plain: str, descriptors: int) -> Path:
    """Write a project of pytest with both tests, and a folder of descriptors."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_cells.py").write_text(cells)
    (folder / "test_plain.py").write_text(plain)
    for number in range(descriptors):
        text = DESCRIPTOR.format(number=number, hash="0" * 64)
        (tables / f"made{number:04}.toml").write_text(text)
    return folder


def answer() -> str:
    """Return the result of three replicates as JSON, of the size of a real one."""
    from ml.sklearn import handle_train_request

    line = [float(row) for row in range(40)]
    columns = {"x": line, "y": [2 * x for x in line]}
    response = handle_train_request(
        {
            "id": "THE CELL",
            "data": {"kind": "inline", "task": "regression", "target": "y", "columns": columns},
            "model": {"kind": "estimator", "estimator": "linear"},
        }
    )
    assert response["status"] == "ok", response
    return json.dumps(response)


def cells_of_nothing(folder: Path, rounds: int, count: int) -> None:
    """Print what a cell, a test in a process of its own and a run of benchopt cost."""
    names = [f"made{number:04}" for number in range(count)]
    cells = CELLS.format(arguments=f'dataset={names}, algorithm="linear", framework="sklearn"')
    project = make_project(folder / "nothing", cells, PLAIN.format(numbers=count, parts=1), count)
    for name, text in (
        ("noop_worker.py", WORKER.replace("RESULT", answer())),
        ("noop.py", NOOP),
        ("forked.py", FORKED),
        ("stopwatch.py", STOPWATCH),
    ):
        (project / name).write_text(text)
    timed = (*PYTEST, "-p", "stopwatch")
    plain = (*timed, "-p", "no:mlmatrix", "test_plain.py")
    forms = [
        Form(
            "pytest, cells in a warm worker",
            project,
            (*timed, "-p", "noop", *TABLES, "test_cells.py"),
        ),
        Form("pytest, empty tests", project, plain),
        Form("a forked process per test", project, (*plain, "-p", "forked")),
    ]
    if find_spec("benchopt"):
        forms.append(make_benchopt(folder / "benchopt", count))
    found: dict[str, list[Cost]] = {form.name: [] for form in forms}
    measure(forms, rounds, lambda form: found[form.name].append(read_stopwatch(form.folder)))
    print(f"\na cell that does nothing, median of {count}, ms")
    row("", "wall", "CPU of pytest", "times ours", "asked")
    first = median(found[forms[0].name]).wall
    for name, costs in found.items():
        cost = median(costs)
        cpu = f"{cost.cpu * 1e3:.2f}" if cost.cpu else ""
        row(name, f"{cost.wall * 1e3:.2f}", cpu, f"{cost.wall / first:.2f}")
    if not find_spec("benchopt"):
        row("benchopt run", "not installed")
    ours, tests = (found[form.name] for form in forms[:2])
    over = median(cell - test for cell, test in zip(ours, tests, strict=True))
    row("a cell above an empty test", f"{over.wall * 1e3:.2f}", f"{over.cpu * 1e3:.2f}", "", "5")


def read_stopwatch(folder: Path) -> Cost:
    """Return what the stopwatch of a session wrote: medians, or the mean of benchopt's runs."""
    path = folder / "times.txt"
    lines = [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
    path.unlink()
    if len(lines[0]) == 1:
        ends = sorted(line[0] for line in lines)
        return Cost(JOBS * (ends[-1] - ends[0]) / (len(ends) - 1), 0.0)
    # The first test starts the worker.
    return median(Cost(wall, cpu) for wall, cpu in lines[1:])


def make_benchopt(folder: Path, runs: int) -> Form:
    """Write a benchmark of benchopt with so many runs that do nothing."""
    for name, text in (
        ("objective.py", OBJECTIVE),
        ("datasets/made.py", DATASET.format(runs=runs)),
        ("solvers/noop.py", SOLVER),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = "-l --no-plot --no-display --no-cache -n 1"
    command = (sys.executable, "-m", "benchopt", "run", ".", *options.split(), "-j", str(JOBS))
    return Form("benchopt run, a job of loky", folder, command)


def collections(folder: Path, rounds: int) -> None:
    """Print what it costs to collect 10,000 cells, 100 descriptors by 100 algorithms."""
    names = [f"made{number:04}" for number in range(100)]
    cells = CELLS.format(arguments=f"dataset={names}, algorithm={names}")
    project = make_project(folder / "collections", cells, PLAIN.format(numbers=100, parts=100), 100)
    (project / "conftest.py").write_text(ALGORITHMS)
    costs = measure(
        (
            Form("cells", project, (*PYTEST, "--collect-only", *TABLES, "test_cells.py")),
            Form("plain", project, (*PYTEST, "--collect-only", "test_plain.py")),
        ),
        rounds,
    )
    print("\nto collect 10,000 cases, ms")
    row("", "wall", "CPU", "asked")
    for name, title in (("cells", "cells"), ("plain", "pytest.mark.parametrize")):
        cost = median(costs[name])
        row(title, f"{cost.wall * 1e3:.0f}", f"{cost.cpu * 1e3:.0f}", "")
    pairs = list(zip(costs["cells"], costs["plain"], strict=True))
    wall = statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)
    cpu = statistics.median(ours.cpu / theirs.cpu for ours, theirs in pairs)
    row("ratio", f"{wall:.2f}", f"{cpu:.2f}", "1.3")


def sessions(folder: Path, rounds: int) -> None:
    """Print what the plugin adds to a session that does not use it."""
    folder = folder / "sessions"
    folder.mkdir()
    for package in ("harness", "ml"):
        compileall.compile_dir(ROOT / package, quiet=1)
    (folder / "test_one.py").write_text("def test_one():\n    pass\n")
    costs = measure(
        (
            Form("with", folder, PYTEST),
            Form("without", folder, (*PYTEST, "-p", "no:mlmatrix")),
        ),
        rounds,
    )
    print("\na session of one empty test, ms")
    row("", "wall", "CPU", "asked")
    for name, title in (("with", "plugin installed"), ("without", "-p no:mlmatrix")):
        cost = median(costs[name])
        row(title, f"{cost.wall * 1e3:.1f}", f"{cost.cpu * 1e3:.1f}", "")
    pairs = zip(costs["with"], costs["without"], strict=True)
    more = median(ours - theirs for ours, theirs in pairs)
    row("difference", f"{more.wall * 1e3:.1f}", f"{more.cpu * 1e3:.1f}", "10")


def row(title: str, *values: str) -> None:
    """Print a line of a table."""
    print(f"{title:<36}", *(f"{value:>13}" for value in values))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="what the plugin costs by itself")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("cells", "collections", "sessions"))
    parser.add_argument("--count", type=int, default=200, help="cells that do nothing")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.only in (None, "cells"):
            cells_of_nothing(folder, asked.rounds, asked.count)
        if asked.only in (None, "collections"):
            collections(folder, asked.rounds)
        if asked.only in (None, "sessions"):
            sessions(folder, 3 * asked.rounds)


if __name__ == "__main__":
    main()
