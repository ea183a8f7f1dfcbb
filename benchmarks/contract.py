"""Show what the contract of each shipped dataset finds, and what it costs beside loading it.

``python benchmarks/contract.py`` prints a line for each dataset: processor seconds to load its
table, and to check its contract when the table is remembered for the first time, in a later run
with the same table, and without any memory. The exit code is 1 where a shipped dataset breaks its
contract. ``--rows`` is the budget of a cell; ``--seeds`` splits by as many seeds more.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import tempfile
import time
from pathlib import Path

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

FOLDER = Path(contracts.__file__).parents[1] / "data"


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


def main() -> int:
    """Measure, print, and return 1 where a shipped dataset breaks its contract."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=0)
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
    for text in broken:
        print(f"broken: {text}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
