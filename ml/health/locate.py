"""Locate the rows of a candidate table that its reference does not account for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.channels import QUESTIONS, Scored, score_pool
from ml.health.check import SAME, pool_sketches, sketch_sides
from ml.health.conformal import adjust, conformal_p
from ml.health.explain import explain_rows
from ml.health.layout import Layout
from ml.health.located import CHANNELS, Channel, FlaggedRow, LocatedRows
from ml.health.narrow import narrow, schema_differences
from ml.health.places import place_rows
from ml.health.pool import Pool
from ml.health.sketch import Sketch
from ml.health.surprise import fit_columns
from ml.health.whole import same_rows

# Rows of each side that every channel looks at.
LOOKED = 5000
MOST = 1000


@dataclass(frozen=True)
class Flags:
    """Hold what was found of some rows: adjusted p [n], and the channel that says it, [n]."""

    adjusted: NDArray[np.float64]
    channels: NDArray[np.int64]


def locate_rows(
    reference: Any,
    candidate: Any,
    *,
    group: str | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    level: float = 0.1,
    most: int = MOST,
    attributions: bool = True,
) -> LocatedRows:
    """Return the rows of a candidate that its reference does not account for, and why.

    Both are what ``check`` takes, and ``group`` and ``tolerance`` mean what they mean there. Three
    questions are asked: is a row unlike the reference's, is it repeated, is it copied. Of the
    rows flagged by each question a share of ``level`` is expected to be false, at most. ``most``
    rows of each channel are listed. With ``attributions`` and torch installed the columns of
    rows that are unlike have integrated gradients. The result is the same for a ``seed``.

    Raises DataInvalid for a table that cannot be read or has no rows, RequestInvalid for an
    argument that is not what it should be.
    """
    if not 0 < level < 1:
        raise RequestInvalid(
            f"level {level} is no share of false rows",
            field="level",
            expected="between 0 and 1",
            received=str(level),
        )
    first, second, reasons = _shared_sides(reference, candidate, group, seed)
    pool = pool_sketches(first, second, tolerance=tolerance, seed=seed, most=LOOKED)
    columns = fit_columns(pool.layout, *_side(pool, slice(0, pool.reference)))
    surprises = np.concatenate(
        [
            columns.surprises(*_side(pool, slice(0, pool.reference)), own=True),
            columns.surprises(*_side(pool, slice(pool.reference, pool.rows))),
        ],
        axis=1,
    )
    places = place_rows(pool, seed)
    scored = score_pool(pool, places, surprises, grouped=group is not None, seed=seed)
    same = same_rows(first, second)
    flags = _flag(pool, scored, same=same)
    rows = second.places[: pool.candidate]
    chosen, found = _choose(flags, rows, level, most)
    explained = explain_rows(
        pool, second, places, surprises, scored, chosen, flags.channels, attributions, seed
    )
    reasons += scored.reasons + explained.reasons + (SAME,) * same
    if pool.candidate < second.rows:
        reasons += (
            f"{pool.candidate} of {second.rows} rows were looked at, which were drawn at random",
        )
    return LocatedRows(
        total=second.rows,
        rows=pool.candidate,
        scanned=pool.candidate,
        level=level,
        seed=seed,
        tolerance=tolerance,
        group=group,
        found=found,
        flagged=tuple(
            FlaggedRow(
                row=int(rows[place]),
                confidence=float(1.0 - flags.adjusted[place]),
                channel=CHANNELS[int(flags.channels[place])],
                columns=columns_,
            )
            for place, columns_ in zip(chosen, explained.columns, strict=True)
        ),
        reasons=reasons,
    )


def _shared_sides(
    reference: Any, candidate: Any, group: str | None, seed: int
) -> tuple[Sketch, Sketch, tuple[str, ...]]:
    first, second = sketch_sides(reference, candidate, group, seed)
    for sketch, name in ((first, "reference"), (second, "candidate")):
        if not sketch.settle().rows:
            raise DataInvalid(f"the {name} has no rows", code="no_rows", field=name)
    changed = {difference.column for difference in schema_differences(first, second)}
    kept = tuple(column for column in first.layout.columns if column.name not in changed)
    if not changed:
        return first, second, ()
    if not kept:
        raise DataInvalid(
            "the tables have no column in common",
            code="nothing_shared",
            remedy="give a candidate with the reference's columns",
        )
    shared = Layout(columns=kept, group=first.layout.group)
    names = ", ".join(sorted(changed))
    reasons = (f"columns that only one table has, or of another kind, were left out: {names}",)
    return narrow(first, shared), narrow(second, shared), reasons


def _side(pool: Pool, rows: slice) -> tuple[Any, Any, Any]:
    return pool.numbers[:, rows], pool.codes[:, rows], pool.tokens[:, rows]


def _flag(pool: Pool, scored: Scored, *, same: bool) -> Flags:
    first = pool.reference
    # Of more rows more are repeated by chance, in proportion at most.
    larger = max(1.0, pool.candidate / first)
    adjusted, channels = [], []
    for question in QUESTIONS:
        asked = [
            channel
            for channel in question
            if channel in scored.scores and not (same and channel == "copied")
        ]
        if not asked:
            continue
        p = np.stack(
            [
                conformal_p(scored.scores[channel][:first], scored.scores[channel][first:])
                * (larger if channel == "repeated" else 1.0)
                for channel in asked
            ]
        )
        best = p.argmin(axis=0)
        adjusted.append(adjust(np.minimum(1.0, p.min(axis=0) * len(asked))))
        channels.append(np.array([CHANNELS.index(channel) for channel in asked])[best])
    place = np.argmin(np.stack(adjusted), axis=0)
    at = np.arange(pool.candidate)
    return Flags(np.stack(adjusted)[place, at], np.stack(channels)[place, at])


def _choose(
    flags: Flags, rows: NDArray[np.int64], level: float, most: int
) -> tuple[NDArray[np.int64], dict[Channel, int]]:
    """Return the flagged rows to list, the surest first, and how many each channel flagged."""
    order = np.lexsort((rows, flags.adjusted))
    order = order[flags.adjusted[order] <= level]
    found: dict[Channel, int] = {}
    kept = np.zeros(len(order), dtype=bool)
    for place, channel in enumerate(CHANNELS):
        own = flags.channels[order] == place
        if own.any():
            found[channel] = int(own.sum())
        kept |= own & (np.cumsum(own) <= most)
    return order[kept], found
