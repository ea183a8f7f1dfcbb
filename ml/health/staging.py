"""Write a candidate's tables for proxies: as it is, and after each action, with one test part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import CheckName
from ml.core.descriptor import Descriptor, read_descriptor
from ml.core.errors import DataInvalid
from ml.datasets.describe import to_toml
from ml.datasets.load import column_count
from ml.datasets.settle import rules_of, settle
from ml.datasets.sources import read_source, write_atomically
from ml.datasets.stored import store_table
from ml.health.cells import Cells, Column, Sampled
from ml.health.hashing import Hashes, mix
from ml.health.mending import Case, is_missing

ProxyTask = Literal["classification", "regression"]
MOST_ROWS = 20_000
MOST_TEST = 2_000
LEAST_TEST = 40
# More distinct whole numbers than these are amounts, and no classes.
MOST_CLASSES = 20


@dataclass(frozen=True)
class Stage:
    """Hold what the tables are made of: the case, the test rows, and what is predicted."""

    case: Case
    test: Cells
    target: str
    task: ProxyTask


def part_reference(
    reference: Sampled, candidate: Sampled, *, grouped: bool, seed: int
) -> tuple[Cells, Cells]:
    """Part the reference's sampled rows into donors, for mending, and those to test on.

    They are parted by the rows' hashes, or their groups', so that equal rows are on one side. A
    row that the candidate holds too is not tested: it would be known by heart.
    """
    places = reference.positions
    names = reference.groups if grouped else reference.hashes
    salt = np.uint64(seed & (2**63 - 1)) + np.uint64(1)
    tested = mix(names[places] + salt) % np.uint64(2) == 0
    held = np.isin(reference.hashes[places], candidate.hashes)
    test = np.flatnonzero(tested & ~held)[:MOST_TEST]
    return reference.cells.take(np.flatnonzero(~tested)), reference.cells.take(test)


def repeated_rows(hashes: Hashes, reference: Hashes) -> NDArray[np.bool_]:
    """Mark the rows that repeat earlier ones more often than the reference repeats them."""
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    if counts.max(initial=1) == 1:
        return np.zeros(len(hashes), dtype=bool)
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(counts) - counts
    occurrence = np.empty(len(hashes), dtype=np.int64)
    occurrence[order] = np.arange(len(hashes)) - starts[place[order]]
    levels, times = np.unique(reference, return_counts=True)
    where = np.searchsorted(levels, hashes).clip(0, max(len(levels) - 1, 0))
    usual = np.where(levels[where] == hashes, times[where], 1) if len(levels) else 1
    marked: NDArray[np.bool_] = occurrence >= usual
    return marked


def settle_target(cells: Mapping[str, Column], target: str, task: ProxyTask | None) -> ProxyTask:
    """Return the task of a target: as asked, or by its values; raises DataInvalid."""
    values = cells.get(target)
    if values is None:
        raise DataInvalid(
            f"the reference has no column {target!r} to predict",
            code="target_unknown",
            field="target",
            expected="a column of numbers or categories: " + ", ".join(sorted(cells)[:12]),
            received=target,
        )
    known = values[~is_missing(values)]
    if values.dtype == object:
        if task == "regression":
            raise DataInvalid(
                f"the target {target!r} holds words, and a regression predicts numbers",
                code="target_not_numeric",
                field="task",
                remedy="ask for classification, or name another target",
            )
        return "classification"
    distinct = np.unique(known)
    few = len(distinct) <= MOST_CLASSES and bool((distinct == np.floor(distinct)).all())
    return task or ("classification" if few else "regression")


def name_classes(cells: Cells, target: str) -> Cells:
    """Return the cells with the target's numbers written as the names of classes."""
    values = cells.columns[target]
    if values.dtype == object:
        return cells
    names: list[Any] = [None if np.isnan(value) else f"{value:g}" for value in values]
    return cells.replaced(target, np.array([*names, None], dtype=object)[:-1])


def write_stage(stage: Stage, cells: Cells, name: str, folder: Path) -> str:
    """Write training rows and the stage's test rows as a dataset; return its descriptor's path.

    It is an ordinary dataset: a Parquet file, a descriptor that declares which rows are tested,
    and the settled table, verified by its hash. Raises DataInvalid where the rows make none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = "part"
    while part in cells.columns:
        part = f"{part}_"
    joined = stage.test.joined(cells)
    columns = {key: _arrow(values) for key, values in joined.columns.items()}
    columns[part] = pa.array(["test"] * stage.test.rows + ["train"] * cells.rows)
    table = pa.table(columns)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.parquet"
    write_atomically(file, lambda stream: pq.write_table(table, stream))
    words = [key for key, values in joined.columns.items() if values.dtype == object]
    declared: dict[str, Any] = {
        "id": name,
        "title": f"{name}: proxies' training rows and test rows",
        "task": stage.task,
        "target": stage.target,
        "rows": 1,
        "columns": 1,
        "content_sha256": "0" * 64,
        "categorical": [key for key in words if key != stage.target],
        "numeric": [key for key in joined.columns if key not in words and key != stage.target],
        "source": {
            "kind": "file",
            "path": file.name,
            "format": "parquet",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        },
        "provenance": {"origin": "made for proxies", "licence": "the tables' own"},
        "split": {"rule": "given", "column": part},
    }
    path = folder / f"{name}.toml"
    _write(path, declared)
    descriptor = read_descriptor(path)
    settled = settle(read_source(descriptor, folder), rules_of(descriptor))
    declared |= {
        "rows": settled.rows,
        "columns": column_count(settled),
        "content_sha256": settled.content_sha256,
    }
    _write(path, declared)
    kept: Descriptor = read_descriptor(path)
    store_table(settled, kept, folder)
    return str(path)


def _write(path: Path, declared: dict[str, Any]) -> None:
    text = to_toml(declared, {})
    # What is wrong with a candidate is what proxies are to find the price of.
    for check in get_args(CheckName):
        values = {"check": check, "reason": "a damaged table is tried as it is"}
        text += "\n[[expected_breaches]]\n" + to_toml(values, {})
    write_atomically(path, lambda stream: stream.write(text.encode()))


def _arrow(values: Column) -> Any:
    import pyarrow as pa

    if values.dtype == object:
        return pa.array(list(values), pa.string())
    return pa.array(np.where(np.isfinite(values), values, np.nan), from_pandas=True)


def hash_cells(cells: Cells) -> str:
    """Return a hash of rows' values, so that equal test rows are known to be equal."""
    digest = hashlib.sha256()
    for name in sorted(cells.columns):
        values = cells.columns[name]
        digest.update(f"{name}\0{len(values)}\0".encode())
        if values.dtype == object:
            for value in values:
                digest.update(b"-" if value is None else f"+{len(value)}:{value}".encode())
        else:
            digest.update(np.where(np.isnan(values), np.nan, values + 0.0).tobytes())
    return digest.hexdigest()
