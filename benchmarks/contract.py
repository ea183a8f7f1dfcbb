"""Show what the contract of each shipped dataset finds, and what it costs beside loading it.

``python benchmarks/contract.py`` prints a line for each dataset: processor seconds to load its
table, and to check its contract when the table is remembered for the first time, in a later run
with the same table, and without any memory. The exit code is 1 where a shipped dataset breaks its
contract. ``--rows`` is the budget of a cell; ``--seeds`` splits by as many seeds more. ``--pairs``
parts each dataset of 200 rows or more so often into random halves, one in the order of time by its
periods, remembers one half and checks the other: a sound table that changed. Then 30 in 100 labels
of that other are flipped.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.cell import Cell
from ml.core import contracts
from ml.core.contracts import (
    Budget,
    DescriptorData,
    EstimatorSpec,
    PreprocessingSpec,
    SketchSpec,
    TrainRequest,
)
from ml.core.descriptor import read_descriptor
from ml.core.errors import DataInvalid
from ml.core.inspection import inspect_data, load_data
from ml.core.seeding import stream
from ml.core.splits import sample_rows, split_rows
from ml.health.contract import check_contract
from ml.health.drift import Memory

FOLDER = Path(contracts.__file__).parents[1] / "data"
# Rows that a table needs to be halved, and that a half has at most.
LEAST, MOST = 200, 20_000
FLIPPED = 0.3


def ask(path: Path, rows: int) -> TrainRequest:
    """Return the request of a dataset's cell, with the seed that its cells have."""
    descriptor = read_descriptor(path)
    return Cell(
        dataset=descriptor.id,
        algorithm="dummy",
        framework="sklearn",
        mode="train",
        task=descriptor.task,
        data=DescriptorData(path=str(path)),
        model=EstimatorSpec(estimator="dummy"),
        preprocessing=PreprocessingSpec(),
        budget=Budget(rows=rows),
        replicates=1,
        timeout=1.0,
    ).to_request()


def spend(work, *args) -> float:
    """Return the processor seconds that a call takes."""
    started = time.process_time()
    work(*args)
    return time.process_time() - started


def show_pairs(pairs: int, rows: int) -> None:
    """Print how one half of a table is judged beside the other, and with flipped labels."""
    print("\n| dataset | pairs | labels: breach | drift: warning | drift: breach | flipped: seen |")
    print("|---|---|---|---|---|---|")
    total, count = Counter(), 0
    for path in sorted(FOLDER.glob("*.toml")):
        descriptor, table = read_descriptor(path), load_data(ask(path, rows))
        if table.rows < LEAST:
            continue
        found = Counter()
        for number in range(pairs):
            draw = stream(number, "halves", path.stem)
            first, second = (table.take(half) for half in halve(table, draw))
            found.update(judge(descriptor, first, second, rows))
            if table.classes:
                wrong = draw.random(second.rows) < FLIPPED
                other = draw.integers(1, len(table.classes), second.rows)
                flipped = np.where(wrong, second.target + other, second.target)
                noisy = replace(second, target=flipped % len(table.classes))
                found["seen"] += ("labels", "breach") in judge(descriptor, first, noisy, rows)
                found["flipped"] += 1
        total, count = total + found, count + pairs
        print(line(path.stem, pairs, found), flush=True)
    print(line("**all**", count, total))


def judge(descriptor, first, second, rows: int) -> list[tuple[str, str]]:
    """Return what checks object to in a table that comes after another."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for run, whole in (("a", first), ("b", second)):
            whole = replace(whole, content_sha256=run * 64)
            chosen, _ = sample_rows(whole, rows, 0)
            table = whole.take(chosen)
            memory = Memory(SketchSpec(folder=folder, run=run), descriptor.id)
            split = split_rows(table, 0, 0)
            report = check_contract(table, split, descriptor, whole=whole, memory=memory)
            found = [(breach.check, breach.severity) for breach in report.breaches]
    return found


def line(name: str, pairs: int, found: Counter) -> str:
    """Return a row of counts."""
    keys = (("labels", "breach"), ("drift", "warning"), ("drift", "breach"))
    counts = " | ".join(str(found[key]) for key in keys)
    seen = f"{found['seen']} of {found['flipped']}" if found["flipped"] else "–"
    return f"| {name} | {pairs} | {counts} | {seen} |"


def halve(table, draw) -> list[np.ndarray]:
    """Return the rows of two halves, those of one period in the same one."""
    groups = np.arange(table.rows) if table.time is None else table.time
    names = draw.permutation(np.unique(groups))
    first = np.isin(groups, names[: len(names) // 2])
    return [np.flatnonzero(first)[:MOST], np.flatnonzero(~first)[:MOST]]


def main() -> int:
    """Measure, print, and return 1 where a shipped dataset breaks its contract."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=0)
    options = parser.parse_args()
    print("| dataset | load, s | first run, s | later run, s | no memory, s | objects |")
    print("|---|---|---|---|---|---|")
    totals = [0.0] * 4
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(FOLDER.glob("*.toml")):
            request = ask(path, options.rows)
            load_data(request)
            spent, objects = [spend(load_data, request)], ""
            try:
                for run in ("first", "later", None):
                    spec = None if run is None else SketchSpec(folder=folder, run=run)
                    asked = request.model_copy(update={"sketches": spec})
                    spent.append(spend(inspect_data, asked))
                for seed in range(options.seeds):
                    inspect_data(request.model_copy(update={"seed": seed}))
                found = inspect_data(request).checks
                objects = ", ".join(f"{c.name}: {c.status}" for c in found if c.status != "passed")
            except DataInvalid as problem:
                broken.append(str(problem))
                spent += [0.0] * (4 - len(spent))
                objects = "**breach**"
            totals = [total + one for total, one in zip(totals, spent, strict=True)]
            figures = " | ".join(f"{one:.3f}" for one in spent)
            print(f"| {path.stem} | {figures} | {objects} |", flush=True)
    print("| **all** | " + " | ".join(f"{one:.2f}" for one in totals) + " | |")
    if options.pairs:
        show_pairs(options.pairs, options.rows)
    for text in broken:
        print(f"broken: {text}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
