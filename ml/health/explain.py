"""Explain why rows stand out: the columns that surprise most, and what each adds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ml.health.attribution import attribute_rows
from ml.health.channels import Scored
from ml.health.located import CHANNELS, Surprise
from ml.health.places import Places
from ml.health.pool import Pool
from ml.health.sketch import Sketch
from ml.health.surprise import Surprises

# Columns that an explanation names.
NAMED = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Explained:
    """Hold each chosen row's columns, and what could not be told."""

    columns: tuple[tuple[Surprise, ...], ...]
    reasons: tuple[str, ...] = ()


def explain_rows(
    pool: Pool,
    candidate: Sketch,
    places: Places,
    surprises: Surprises,
    scored: Scored,
    chosen: NDArray[np.int64],
    channels: NDArray[np.int64],
    attributions: bool,
    seed: int,
) -> Explained:
    """Return the columns of the chosen rows, numbers of the candidate's, that surprise most."""
    names = [column.name for column in (*pool.layout.measured, *pool.layout.coded)]
    member = np.zeros((places.values.shape[1], len(names)))
    for place, name in enumerate(places.columns):
        member[place, names.index(name)] = 1.0
    kinds = [CHANNELS[number] for number in channels[chosen]]
    at = np.array([kind == "classifier" for kind in kinds], dtype=bool)
    added = np.full((len(chosen), len(names)), np.nan)
    reasons: tuple[str, ...] = ()
    if at.any() and attributions:
        gradients, reason = attribute_rows(
            places.values, pool.reference, pool.reference + chosen[at], seed
        )
        if gradients is None:
            reasons = (str(reason),)
        else:
            added[at] = gradients @ member
    at = np.array([kind == "distance" for kind in kinds], dtype=bool)
    if at.any():
        rows = chosen[at]
        near = places.values[scored.neighbours[rows]]
        gaps = (places.values[pool.reference + rows][:, None] - near) ** 2
        shares = gaps.mean(axis=1) @ member
        added[at] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    own = surprises[:, pool.reference + chosen].T
    texts = _Values(candidate)
    listed = []
    for place, row in enumerate(chosen):
        weights = own[place] if np.isnan(added[place]).any() else added[place]
        order = np.argsort(-weights, kind="stable")[:NAMED]
        listed.append(
            tuple(
                Surprise(
                    column=names[number],
                    value=texts.tell(int(row), int(number)),
                    surprise=float(own[place, number]),
                    attribution=_known(added[place, number]),
                )
                for number in order
            )
        )
    return Explained(tuple(listed), reasons)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class _Values:
    """Tell the values of a sketch's sampled rows as they were."""

    def __init__(self, sketch: Sketch) -> None:
        self.sample, self.layout = sketch.sample, sketch.layout
        self.labels = {
            column.name: {code: text for text, code in sketch.labels.get(column.name, {}).items()}
            for column in sketch.layout.coded
        }

    def tell(self, row: int, column: int) -> str | float | None:
        measured = self.layout.measured
        if column >= len(measured):
            place = column - len(measured)
            code = int(self.sample.codes[place, row])
            return self.labels[self.layout.coded[place].name].get(code)
        value = float(self.sample.numbers[column, row])
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
