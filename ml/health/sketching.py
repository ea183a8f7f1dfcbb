"""Sketch a table of any kind, batch by batch."""

from __future__ import annotations

from typing import Any

from ml.core.errors import DataInvalid
from ml.health.batches import Source, open_source
from ml.health.layout import Layout, lay_out
from ml.health.prepared import Preparer
from ml.health.sketch import Sketch


def sketch_table(
    table: Any,
    *,
    layout: Layout | None = None,
    group: str | None = None,
    seed: int = 0,
    part: int = 0,
) -> Sketch:
    """Return the sketch of a pandas DataFrame, or of the table at a path or URL, in one pass.

    Without a ``layout`` the table is a reference, and its own is settled by a pilot of its rows.
    Sketches of further parts of a table are made with its ``layout`` and a ``part`` of their own,
    and merge. Raises DataInvalid for what is no table, Unavailable for a missing package.
    """
    source = open_source(table)
    if layout is None:
        layout = lay_out(source.pilot(), group)
    preparer = Preparer(layout)
    sketch = Sketch(layout, preparer.kinds, preparer.labels)
    _add_all(sketch, preparer, source, seed, part)
    _check_group(sketch)
    return sketch.settle()


def _add_all(sketch: Sketch, preparer: Preparer, source: Source, seed: int, part: int) -> None:
    first = 0
    for batch in source.batches(sketch.layout):
        sketch.add(preparer.prepare(batch), first, seed=seed, part=part)
        first += batch.num_rows


def _check_group(sketch: Sketch) -> None:
    group = sketch.layout.group
    if group is not None and sketch.rows and group not in sketch.kinds:
        raise DataInvalid(
            f"the table has no column {group!r} to group its rows by",
            code="group_unknown",
            field="group",
            received=group,
        )
