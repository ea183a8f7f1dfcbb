"""Locate the rows of a candidate table that its reference does not account for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.channels import UNLIKE, Scored, score_pool
from ml.health.check import SAME, pool_sketches, sketch_sides
from ml.health.conformal import Answers, answer, conformal_p, flag
from ml.health.explain import Explainer
from ml.health.layout import Layout
from ml.health.located import CHANNELS, Channel, FlaggedRow, LocatedRows
from ml.health.narrow import narrow, schema_differences
from ml.health.places import place_rows
from ml.health.pool import Pool
from ml.health.sketch import Sketch
from ml.health.surprise import fit_surprises
from ml.health.whole import same_rows
from ml.health.wholly import answer_wholly

# Rows of each side that every channel looks at.
LOOKED = 5000
MOST = 1000


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
    rows of each channel are listed. With ``attributions`` and torch installed, the columns of
    rows that a classifier flags have integrated gradients. Equal seeds give equal results.

    LOOKED rows of each side, drawn at random, are looked at by every channel; of larger tables
    all rows by those that need no other row's values, which reads a file again.

    Raises DataInvalid for a table that cannot be read, has no rows or no column of the other's,
    RequestInvalid for an argument that is not what it should be.
    """
    if not 0 < level < 1:
        raise RequestInvalid(
            f"level {level} is no share of false rows",
            field="level",
            expected="between 0 and 1",
            received=str(level),
        )
    if not 0 <= tolerance < 10:
        raise RequestInvalid(
            f"tolerance {tolerance} is no number of standard deviations",
            field="tolerance",
            expected="from 0 to 10",
            received=str(tolerance),
        )
    first, second, reasons = _shared_sides(reference, candidate, group, seed)
    pool = pool_sketches(first, second, tolerance=tolerance, seed=seed, most=LOOKED)
    columns, surprises = fit_surprises(pool, grouped=group is not None)
    places = place_rows(pool, seed)
    scored = score_pool(pool, places, surprises, grouped=group is not None, seed=seed)
    rows = second.places[: pool.candidate]
    same = same_rows(first, second)
    wholly = max(first.rows, second.rows) > LOOKED
    unlike = [each for each in UNLIKE if each in scored.scores and not (wholly and each == "cell")]
    answers = [answer(rows, {each: _p(pool, scored, each) for each in unlike})]
    scanned = pool.candidate
    if wholly:
        own = surprises[:, : pool.reference]
        found, scanned, unknown = answer_wholly(
            reference, candidate, first, second, columns, own, same
        )
        answers += found
        reasons += unknown
    else:
        answers.append(answer(rows, {"repeated": _p(pool, scored, "repeated")}))
        if not same:
            answers.append(answer(rows, {"copied": _p(pool, scored, "copied")}))
    chosen, counts = _choose(flag(answers, level), most)
    explainer = Explainer(pool, second, candidate, columns, places, scored, attributions, seed)
    explained, unexplained = explainer.explain(chosen)
    reasons += scored.reasons + unexplained + (SAME,) * same
    if group is not None and len(np.unique(pool.groups[: pool.reference])) < 2:
        reasons += ("the reference has one group only, which does not tell how groups differ",)
    return LocatedRows(
        total=second.rows,
        rows=pool.candidate,
        scanned=scanned,
        level=level,
        seed=seed,
        tolerance=tolerance,
        group=group,
        found=counts,
        flagged=tuple(
            FlaggedRow(
                row=int(chosen.rows[place]),
                confidence=float(1.0 - chosen.adjusted[place]),
                channel=CHANNELS[int(chosen.channels[place])],
                columns=named,
            )
            for place, named in enumerate(explained)
        ),
        reasons=reasons + _partial(pool.candidate, scanned, second.rows),
    )


def _shared_sides(
    reference: Any, candidate: Any, group: str | None, seed: int
) -> tuple[Sketch, Sketch, tuple[str, ...]]:
    first, second = sketch_sides(reference, candidate, group, seed)
    for sketch, name in ((first, "reference"), (second, "candidate")):
        if not sketch.settle().rows:
            raise DataInvalid(f"the {name} has no rows", code="no_rows", field=name)
    changed = {difference.column for difference in schema_differences(first, second)}
    if not changed:
        return first, second, ()
    kept = tuple(column for column in first.layout.columns if column.name not in changed)
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


def _p(pool: Pool, scored: Scored, channel: Channel) -> NDArray[np.float64]:
    scores = scored.scores[channel]
    p = conformal_p(scores[: pool.reference], scores[pool.reference :])
    # Of more rows more are repeated by chance, in proportion at most.
    return p * max(1.0, pool.candidate / pool.reference) if channel == "repeated" else p


def _choose(flagged: Answers, most: int) -> tuple[Answers, dict[Channel, int]]:
    """Return the flagged rows to list, and how many each channel flagged."""
    counts: dict[Channel, int] = {}
    kept = np.zeros(len(flagged.rows), dtype=bool)
    for place, channel in enumerate(CHANNELS):
        own = flagged.channels == place
        if own.any():
            counts[channel] = int(own.sum())
        kept |= own & (np.cumsum(own) <= most)
    return flagged.take(np.flatnonzero(kept)), counts


def _partial(looked: int, scanned: int, total: int) -> tuple[str, ...]:
    if looked == total:
        return ()
    told = f"distances and the classifier looked at {looked} of {total} rows, drawn at random"
    if scanned < total:
        told += f"; {scanned} were scanned for cells, repeats and copies"
    return (told,)
