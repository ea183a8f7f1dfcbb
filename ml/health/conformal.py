"""Turn scores into p values by the reference's own, and decide by them which rows to flag."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Hold rows' numbers, their adjusted p, and the place in CHANNELS of what says it, [n] each."""

    rows: NDArray[np.int64]
    adjusted: Values
    channels: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Answers:
        """Return these of the answers."""
        return Answers(self.rows[places], self.adjusted[places], self.channels[places])


def answer(rows: NDArray[np.int64], asked: dict[Channel, Values]) -> Answers:
    """Answer one question about rows by the p of several channels, [n] each.

    The smallest p counts, times their number.
    """
    p = np.stack(list(asked.values()))
    places = np.array([CHANNELS.index(channel) for channel in asked])
    smallest = np.minimum(1.0, p.min(axis=0) * len(asked))
    return Answers(rows, adjust(smallest), places[p.argmin(axis=0)])


def merge(answers: list[Answers]) -> Answers:
    """Return each row once, by the answer that is surest, the surest rows first."""
    rows = np.concatenate([each.rows for each in answers])
    adjusted = np.concatenate([each.adjusted for each in answers])
    channels = np.concatenate([each.channels for each in answers])
    order = np.lexsort((channels, adjusted, rows))
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = rows[order][1:] != rows[order][:-1]
    order = order[kept]
    order = order[np.lexsort((rows[order], adjusted[order]))]
    return Answers(rows[order], adjusted[order], channels[order])
