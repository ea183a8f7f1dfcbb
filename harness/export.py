"""Write all that the index has as one tidy table: a row for each cell of each run."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from harness.store.index import Index
from harness.store.rows import CellRow, ResultRow, RunRow
from ml.core.errors import MatrixError, Unavailable

BATCH = 20_000
# The columns and their types in Parquet; lists and tables of a CSV are JSON.
COLUMNS: dict[str, str] = {
    **dict.fromkeys(("run", "kind", "run_started", "commit", "branch"), "string"),
    "dirty": "bool",
    **dict.fromkeys(("environment", "cpu", "python"), "string"),
    **dict.fromkeys(("cell", "dataset", "algorithm", "framework", "mode", "task"), "string"),
    **dict.fromkeys(("state", "outcome", "reason", "started"), "string"),
    "seconds": "double",
    **dict.fromkeys(("key", "reused"), "string"),
    "timed": "bool",
    "cut": "bool",
    "attempts": "int64",
    "metric": "string",
    "greater_is_better": "bool",
    **dict.fromkeys(("value", "baseline", "improvement", "spread"), "double"),
    "replicates": "list<double>",
    "splits": "list<string>",
    **dict.fromkeys(("fit", "predict", "prepare", "load", "rows_per_second"), "double"),
    **dict.fromkeys(("peak_memory", "artifact_bytes"), "int64"),
    "calibration": "double",
    **dict.fromkeys(("data", "entry", "scale", "device", "distillation"), "string"),
}


def export_csv(index: Index, file: str) -> int:
    """Write the table as CSV, to the standard output for ``-``; return its number of rows."""
    number = 0
    path = Path(file)
    try:
        with nullcontext(sys.stdout) if file == "-" else path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
            writer.writeheader()
            for row in _rows(index):
                writer.writerow(
                    {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                )
                number += 1
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise MatrixError(f"{file} cannot be written: {problem.strerror}") from None
    return number


def export_parquet(index: Index, file: str) -> int:
    """Write the table as Parquet; return its number of rows. Raises Unavailable without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Unavailable(
            "pyarrow is not installed, and Parquet needs it",
            remedy="pip install 'pytest-mlmatrix[datasets]', or write --csv FILE",
        ) from None
    types = {
        "string": pyarrow.string(),
        "bool": pyarrow.bool_(),
        "double": pyarrow.float64(),
        "int64": pyarrow.int64(),
        "list<double>": pyarrow.list_(pyarrow.float64()),
        "list<string>": pyarrow.list_(pyarrow.string()),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    rows = _rows(index)
    number = 0
    try:
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            while batch := list(islice(rows, BATCH)):
                writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
                number += len(batch)
    except OSError as problem:
        raise MatrixError(f"{file} cannot be written: {problem.strerror or problem}") from None
    return number


def _rows(index: Index) -> Iterator[dict[str, Any]]:
    for cell, run, result in index.results():
        yield _row(cell, run, result)


def _row(cell: CellRow, run: RunRow, result: ResultRow) -> dict[str, Any]:
    values = {
        **vars(result),
        **vars(cell),
        "run": run.name,
        "kind": run.kind,
        "run_started": run.started,
        "branch": run.branch,
        "dirty": run.dirty,
        "environment": run.environment,
        "cpu": run.parts.get("cpu"),
        "python": run.parts.get("python"),
        "replicates": list(result.replicates),
        "splits": list(result.splits),
        "distillation": json.dumps(result.distillation) if result.distillation else None,
    }
    return {name: values[name] for name in COLUMNS}
