"""Sketch a table of any kind, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml.core.errors import DataInvalid
from ml.health.batches import Source, open_source
from ml.health.files import Reread
from ml.health.layout import BINS, Layout, bin_bounds, lay_out
from ml.health.prepared import Preparer
from ml.health.sketch import Sketch

# The share of a reference's values beyond its bins at which a better pilot is worth a pass.
OUTSIDE = 0.02


def sketch_table(
    table: Any,
    *,
    layout: Layout | None = None,
    group: str | None = None,
    seed: int = 0,
    part: int = 0,
    tell: Callable[[int], None] | None = None,
) -> Sketch:
    """Return the sketch of a pandas DataFrame, or of the table at a path or URL, in one pass.

    Without a ``layout`` the table is a reference, and its own is settled by a pilot of its rows.
    Sketches of further parts of a table are made with its ``layout`` and a ``part`` of their own,
    and merge. ``tell`` is called with the rows that were read so far. Raises DataInvalid for what
    is no table, Unavailable for a missing package.
    """
    source = open_source(table)
    given = layout
    while True:
        try:
            layout = given if given is not None else lay_out(source.pilot(), group)
            sketch = _pass(layout, source, seed, part, tell)
            if given is None and (wider := _wider(sketch)) is not None:
                sketch = _pass(wider, source, seed, part, tell)
        except Reread:
            # Each time one column more is read as text, so that this ends.
            continue
        _check_group(sketch)
        return sketch


def _pass(
    layout: Layout,
    source: Source,
    seed: int,
    part: int,
    tell: Callable[[int], None] | None,
) -> Sketch:
    preparer = Preparer(layout)
    sketch = Sketch(layout, preparer.kinds, preparer.labels)
    first = 0
    for batch in source.batches(layout):
        sketch.add(preparer.prepare(batch), first, seed=seed, part=part)
        first += batch.num_rows
        if tell is not None:
            tell(first)
    return sketch.settle()


def _wider(sketch: Sketch) -> Layout | None:
    """Return a layout by the sample of all rows where the pilot's bins leave too many out.

    A pilot knows the first rows only of a file that is entered at its start, and where the rows
    are in order these tell little of the others.
    """
    columns = list(sketch.layout.columns)
    for place, column in enumerate(sketch.layout.measured):
        counts = sketch.histograms[place]
        if counts[0] + counts[BINS + 1] > OUTSIDE * counts[: BINS + 2].sum():
            bounds = bin_bounds(sketch.sample.numbers[place])
            columns[columns.index(column)] = column.model_copy(update=bounds)
    layout = Layout(columns=tuple(columns), group=sketch.layout.group)
    return None if layout == sketch.layout else layout


def _check_group(sketch: Sketch) -> None:
    group = sketch.layout.group
    if group is not None and sketch.rows and group not in sketch.kinds:
        raise DataInvalid(
            f"the table has no column {group!r} to group its rows by",
            code="group_unknown",
            field="group",
            received=group,
        )
