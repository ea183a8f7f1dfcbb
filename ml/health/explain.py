"""Explain why rows stand out: the columns that surprise most, and what each adds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.attribution import attribute_rows
from ml.health.channels import Scored
from ml.health.conformal import Answers
from ml.health.layout import Layout
from ml.health.located import CHANNELS, Surprise
from ml.health.places import Places
from ml.health.pool import Pool
from ml.health.prepared import Rows, join_rows
from ml.health.scan import collect_rows, surprises_of
from ml.health.sketch import Sketch
from ml.health.surprise import Columns

Labels = dict[str, dict[str, int]]
# Columns that an explanation names.
NAMED = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Explainer:
    """Explain flagged rows of a candidate, whose sketch, table and pooled sample are known."""

    def __init__(
        self,
        pool: Pool,
        sketch: Sketch,
        table: Any,
        columns: Columns,
        places: Places,
        scored: Scored,
        attributions: bool,
        seed: int,
    ) -> None:
        self.pool, self.sketch, self.table, self.columns = pool, sketch, table, columns
        self.places, self.scored, self.attributions, self.seed = places, scored, attributions, seed

    def explain(self, chosen: Answers) -> tuple[list[tuple[Surprise, ...]], tuple[str, ...]]:
        """Return each row's columns that tell most, and what could not be told."""
        rows, labels = self._rows(chosen.rows)
        own = surprises_of(self.columns, rows).T
        added, reasons = self._added(chosen)
        values = _Values(self.columns.layout, rows, labels)
        listed = []
        for row in range(len(chosen.rows)):
            weights = own[row] if np.isnan(added[row]).any() else added[row]
            listed.append(
                tuple(
                    Surprise(
                        column=self.columns.names[place],
                        value=values.tell(row, int(place)),
                        surprise=float(own[row, place]),
                        attribution=_known(added[row, place]),
                    )
                    for place in np.argsort(-weights, kind="stable")[:NAMED]
                )
            )
        return listed, reasons

    def _rows(self, numbers: NDArray[np.int64]) -> tuple[Rows, Labels]:
        """Return rows by their numbers: those of the sketch's sample, the others of the table."""
        order = np.argsort(self.sketch.places, kind="stable")
        ordered = self.sketch.places[order]
        at = np.searchsorted(ordered, numbers).clip(max=len(ordered) - 1)
        sampled = ordered[at] == numbers
        found, labels = self.sketch.sample.take(order[at[sampled]]), dict(self.sketch.labels)
        if sampled.all():
            return found, labels
        missing = np.sort(numbers[~sampled])
        others, texts = collect_rows(self.table, self.columns.layout, missing)
        for name, known in texts.items():
            labels[name] = labels.get(name, {}) | known
        places = np.empty(len(numbers), dtype=np.int64)
        places[sampled] = np.arange(int(sampled.sum()))
        places[~sampled] = int(sampled.sum()) + np.searchsorted(missing, numbers[~sampled])
        return join_rows([found, others]).take(places), labels

    def _added(self, chosen: Answers) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return what each column adds to what the channel saw, NaN where none is asked."""
        names, first = self.columns.names, self.pool.reference
        member = np.zeros((self.places.values.shape[1], len(names)))
        for place, name in enumerate(self.places.columns):
            member[place, names.index(name)] = 1.0
        added = np.full((len(chosen.rows), len(names)), np.nan)
        number = {int(row): at for at, row in enumerate(self.sketch.places[: self.pool.candidate])}
        at = np.flatnonzero(chosen.channels == CHANNELS.index("distance"))
        if len(at):
            rows = np.array([number[int(row)] for row in chosen.rows[at]])
            near = self.places.values[self.scored.neighbours[rows]]
            gaps = (self.places.values[first + rows][:, None] - near) ** 2
            shares = gaps.mean(axis=1) @ member
            added[at] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        at = np.flatnonzero(chosen.channels == CHANNELS.index("classifier"))
        if not len(at) or not self.attributions:
            return added, ()
        rows = np.array([first + number[int(row)] for row in chosen.rows[at]])
        gradients, reason = attribute_rows(self.places.values, first, rows, self.seed)
        if gradients is not None:
            added[at] = gradients @ member
        return added, () if reason is None else (reason,)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class _Values:
    """Tell rows' values as they were."""

    def __init__(self, layout: Layout, rows: Rows, labels: Labels) -> None:
        self.layout, self.rows = layout, rows
        self.texts = {
            column.name: {code: text for text, code in labels.get(column.name, {}).items()}
            for column in layout.coded
        }

    def tell(self, row: int, column: int) -> str | float | None:
        measured = self.layout.measured
        if column >= len(measured):
            place = column - len(measured)
            code = int(self.rows.codes[place, row])
            return self.texts[self.layout.coded[place].name].get(code)
        value = float(self.rows.numbers[column, row])
        if np.isnan(value):
            return None
        if not np.isfinite(value):
            return "inf" if value > 0 else "-inf"
        if measured[column].kind != "datetime":
            return value
        try:
            return (EPOCH + timedelta(seconds=value)).isoformat()
        except OverflowError:
            return value
