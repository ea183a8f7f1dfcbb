"""Turn scores into p values by the reference's own, and decide by them which rows to flag."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ml.health.located import CHANNELS, Channel

Values = NDArray[np.float64]


def conformal_p(reference: Values, candidate: Values) -> Values:
    """Return the share of the reference's scores that are as high as each of the candidate's.

    The row itself counts as one of them, so that no p is 0 (Vovk et al. 2005; of outliers Bates
    et al. 2023).
    """
    ordered = np.sort(reference)
    above = len(ordered) - np.searchsorted(ordered, candidate, side="left")
    return np.asarray((1.0 + above) / (1.0 + len(ordered)))


def adjust(p: Values) -> Values:
    """Return p values adjusted for their number (Benjamini and Hochberg 1995), 1 at most."""
    order = np.argsort(p, kind="stable")
    ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(ranked[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


@dataclass(frozen=True)
class Answers:
    """Hold rows' numbers, p, adjusted p, and the place in CHANNELS of what says it, [n] each."""

    rows: NDArray[np.int64]
    p: Values
    adjusted: Values
    channels: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Answers:
        """Return these of the answers."""
        return Answers(*(getattr(self, each.name)[places] for each in fields(self)))


def answer(rows: NDArray[np.int64], asked: dict[Channel, Values]) -> Answers:
    """Answer one question about rows by the p of several channels, [n] each.

    The smallest p counts; it is adjusted times the number of channels.
    """
    p = np.stack(list(asked.values()))
    places = np.array([CHANNELS.index(channel) for channel in asked])
    smallest = p.min(axis=0)
    adjusted = adjust(np.minimum(1.0, smallest * len(asked)))
    return Answers(rows, smallest, adjusted, places[p.argmin(axis=0)])


def flag(answers: list[Answers], level: float) -> Answers:
    """Return every row that a question flags once, the surest first.

    Where several do, the channel of the smallest p tells why, the first of CHANNELS among equals.
    """
    found = [each.take(np.flatnonzero(each.adjusted <= level)) for each in answers]
    joined = Answers(
        *(np.concatenate([getattr(one, each.name) for one in found]) for each in fields(Answers))
    )
    joined = joined.take(np.lexsort((joined.channels, joined.p, joined.rows)))
    first = np.flatnonzero(np.diff(joined.rows, prepend=-1))
    surest = np.minimum.reduceat(joined.adjusted, first) if len(first) else joined.adjusted
    joined = replace(joined.take(first), adjusted=surest)
    return joined.take(np.lexsort((joined.rows, joined.adjusted)))
