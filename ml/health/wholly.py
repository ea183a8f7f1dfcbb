"""Ask of all rows of large tables what needs no neighbours: cells, repeats, copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.conformal import Answers, Values, answer, conformal_p
from ml.health.hashing import Hashes
from ml.health.scan import Known, Scan, can_be_scanned, know_rows, summarise, surprises_of, visit
from ml.health.sketch import Sketch
from ml.health.surprise import Columns, Surprises

EVERY = 2**64 - 1


def answer_wholly(
    reference: Any,
    candidate: Any,
    first: Sketch,
    second: Sketch,
    columns: Columns,
    own: Surprises,
    same: bool,
) -> tuple[list[Answers], int, tuple[str, ...]]:
    """Return what is found of all rows that can be scanned, their number, and what is not known.

    ``own`` are the surprises of the reference's pooled rows, by columns fitted without them.
    Of a sketch only its sampled rows are there, and repeats and copies are known up to its limit.
    Where both tables hold the ``same`` rows, copies are not asked for.
    """
    layout = columns.layout
    usual, sums = _reference_scores(first, columns, own)
    known = know_rows(reference, first, layout)
    if can_be_scanned(candidate):
        scan, _ = visit(candidate, layout, lambda: Scan(columns))
        rows, hashes, greatest, total = (scan.joined(place) for place in range(4))
        there = scan.known()
    else:
        rows, hashes = second.places, second.sample.hashes
        greatest, total = summarise(surprises_of(columns, second.sample))
        there = Known(second.distinct, second.repeats, second.limit)
    answers = [answer(rows, {"cell": conformal_p(usual, greatest)})]
    chance = _Chance(known, first.sample.hashes[: len(sums)], sums)
    # Of more rows more are repeated by chance, in proportion at most.
    larger = max(1.0, second.rows / first.rows)
    told = hashes <= np.uint64(there.limit)
    if told.any():
        p = chance.p(there.counts(hashes[told]) > 1, total[told])
        answers.append(answer(rows[told], {"repeated": p * larger}))
    told = hashes <= np.uint64(known.limit)
    if told.any() and not same:
        p = chance.p(known.counts(hashes[told]) > 0, total[told])
        answers.append(answer(rows[told], {"copied": p}))
    return answers, len(rows), _unknown("repeats", there) + _unknown("copies", known)


def _unknown(name: str, known: Known) -> tuple[str, ...]:
    share = known.limit / EVERY
    return (f"{name} are told of {share:.0%} of the rows only",) if share < 1 else ()


def _reference_scores(first: Sketch, columns: Columns, own: Surprises) -> tuple[Values, Values]:
    """Return the greatest surprise and the sum of rows of the reference's sample.

    Rows of one group are not alone in it, so that only those held out with it can tell.
    """
    found = own
    if first.layout.group is None:
        rest = first.sample.take(np.arange(own.shape[1], len(first.keys)))
        found = np.concatenate([own, surprises_of(columns, rest)], axis=1)
    greatest, sums = summarise(found)
    return greatest.astype(np.float64), sums.astype(np.float64)


class _Chance:
    """Tell how often a row of the reference is there twice, and is as surprising as one."""

    def __init__(self, known: Known, hashes: Hashes, sums: Values) -> None:
        self.repeated, self.rows = known.repeated()
        self.sums = sums[known.counts(hashes) > 1]

    def p(self, twice: NDArray[np.bool_], sums: NDArray[Any]) -> Values:
        """Return each row's p: 1 where it is not there twice."""
        share = (1.0 + self.repeated) / (1.0 + self.rows)
        p = np.ones(len(sums))
        p[twice] = np.minimum(1.0, share * conformal_p(self.sums, sums[twice]))
        return p
