"""Load a dataset as a table: by its descriptor, from a request's values, or from a function."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ml.core.contracts import FunctionData, InlineData
from ml.core.descriptor import Descriptor, read_descriptor
from ml.core.errors import DataInvalid, describe
from ml.core.imported import call_target, import_target
from ml.core.table import Table
from ml.datasets.columns import named_columns, raw_column
from ml.datasets.readers import check_lengths
from ml.datasets.schema import check_schema
from ml.datasets.settle import rules_of, settle
from ml.datasets.sources import read_source
from ml.datasets.stored import read_stored, store_table, table_path


def load_table(path: Path) -> Table:
    """Return the table of the descriptor at ``path``, materialised now or before.

    A stored table is verified by its content hash, and built anew if it is damaged. Raises
    DataInvalid for a descriptor, file, shape or value that is not as declared, Unavailable
    for a package that is not installed.
    """
    descriptor = read_named(path)
    kept, there = table_path(descriptor, path.parent)
    table = read_stored(kept, descriptor) if there else None
    if table is None:
        table = settle(read_source(descriptor, path.parent), rules_of(descriptor))
        _check_declared(table, descriptor, path)
        store_table(table, descriptor, path.parent)
    return table


def read_named(path: Path) -> Descriptor:
    """Read a descriptor and check that its id is its file's stem; raises DataInvalid."""
    descriptor = read_descriptor(path)
    if descriptor.id != path.stem:
        raise DataInvalid(
            f"dataset descriptor {path} has the id of another file",
            code="id_mismatch",
            field="id",
            expected=repr(path.stem),
            received=repr(descriptor.id),
            remedy=f"rename the file to {descriptor.id}.toml, or correct id",
        )
    return descriptor


def table_from_values(data: InlineData | FunctionData) -> Table:
    """Return the table of typed values, settled as a file's would be.

    They are a request's own columns, or those of the DataFrame that a project's function returns,
    whose index counts for nothing. A column is numeric if all its values are numbers, truth values
    or missing, else categorical. Raises DataInvalid, for a function also RequestInvalid.
    """
    if isinstance(data, FunctionData):
        return _table_from_function(data.model_dump_json())
    where = f"dataset {data.id}"
    check_lengths({name: len(values) for name, values in data.columns.items()}, where)
    columns = {name: raw_column(values, where) for name, values in data.columns.items()}
    return settle(columns, rules_of(data))


# A worker trains many cells of a dataset in a row, and a project's function may take its time.
@lru_cache(maxsize=2)
def _table_from_function(asked: str) -> Table:
    data, place = FunctionData.model_validate_json(asked), "data.function"
    function = import_target(data.function, place)
    frame = call_target(function, data.function, place)
    where = f"dataset {data.id}, {data.function}"
    if not hasattr(frame, "columns") or not hasattr(frame, "isna"):
        raise DataInvalid(
            f"{where} did not return a table",
            code="no_table",
            field=place,
            expected="a pandas DataFrame",
            received=describe(frame),
            remedy="return the DataFrame from the function",
        )
    # Missing values have several forms in pandas, and one here.
    plain = frame.astype(object).where(~frame.isna(), None)
    values = [plain.iloc[:, place].tolist() for place in range(frame.shape[1])]
    return settle(named_columns(list(frame.columns), values, where), rules_of(data))


def column_count(table: Table) -> int:
    """Return the number of features and the target, as ``columns`` in a descriptor counts."""
    return len(table.numeric_names) + len(table.categorical_names) + 1


def _check_declared(table: Table, descriptor: Descriptor, path: Path) -> None:
    declared = (descriptor.rows, descriptor.columns, descriptor.content_sha256)
    found = (table.rows, column_count(table), table.content_sha256)
    if declared != found:
        odd = check_schema(table, descriptor.target, descriptor.table_schema)
        form = 'rows = {}, columns = {}, content_sha256 = "{}"'.format
        raise DataInvalid(
            f"dataset {descriptor.id} is not the table that {path} declares",
            code="content_changed",
            field="content_sha256",
            expected=form(*declared),
            received=form(*found),
            remedy="restore the source, or write what was received once you know why",
            detail="\n".join(breach.message for breach in odd) or None,
        )
