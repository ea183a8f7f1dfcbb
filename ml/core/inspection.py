"""Inspect a request's data before it is trained on, once in a process for each dataset."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from ml.core.contracts import ContractReport, DescriptorData, InlineData, TableRules, TrainRequest
from ml.core.descriptor import Descriptor
from ml.core.splits import sample_rows, split_rows
from ml.core.table import Table
from ml.datasets.load import load_table, read_named, table_from_values
from ml.health.contract import ContractBreached, breaches_of, check_contract
from ml.health.drift import Memory

KEPT = 32
_reports: OrderedDict[str, ContractReport] = OrderedDict()


def inspect_data(request: TrainRequest) -> ContractReport:
    """Return how the data of a request keeps its contract, on the split of its first replicate.

    What was found is kept by all that it depends on, so that only the first request of a dataset
    pays for it. Raises ContractBreached, a DataInvalid, where the table breaks its contract, and
    DataInvalid or Unavailable where there is none.
    """
    key = _key(request)
    report = _reports.get(key)
    if report is None:
        report = _reports[key] = _inspect(request)
        if len(_reports) > KEPT:
            _reports.popitem(last=False)
    _reports.move_to_end(key)
    if breaches_of(report):
        raise ContractBreached(_source(request).id, report)
    return report


def load_data(request: TrainRequest) -> Table:
    """Return the whole table of a request; raises DataInvalid or Unavailable."""
    if isinstance(request.data, DescriptorData):
        return load_table(Path(request.data.path))
    return table_from_values(request.data)


def _inspect(request: TrainRequest) -> ContractReport:
    whole, source = load_data(request), _source(request)
    rows, sample = sample_rows(whole, request.budget.rows, request.seed)
    table = whole if sample.method == "all" else whole.take(rows)
    split = split_rows(table, request.seed, 0)
    remembers = request.sketches is not None and not isinstance(source, InlineData)
    memory = Memory(request.sketches, source.id) if remembers and request.sketches else None
    return check_contract(table, split, source, whole=whole, memory=memory)


def _source(request: TrainRequest) -> Descriptor | TableRules:
    if isinstance(request.data, DescriptorData):
        return read_named(Path(request.data.path))
    return request.data


def _key(request: TrainRequest) -> str:
    text = request.model_dump_json(include={"data", "seed", "budget", "sketches"})
    # A request may carry a table.
    asked = hashlib.sha256(text.encode()).hexdigest()
    if not isinstance(request.data, DescriptorData):
        return asked
    try:
        stat = Path(request.data.path).stat()
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return asked
    return f"{asked} {stat.st_size} {stat.st_mtime_ns}"
