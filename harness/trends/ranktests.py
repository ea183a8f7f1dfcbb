"""Test ranks over datasets: all algorithms at once, then pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# With more pairs of values than this, the exact distribution gives way to the normal one.
MOST_EXACT = 200


@dataclass(frozen=True)
class Friedman:
    """Hold Friedman's test: ``statistic`` is chi-squared, ``f`` the F of Iman and Davenport."""

    statistic: float
    f: float
    degrees: tuple[int, int]
    p: float


def friedman(ranks: NDArray[np.float64]) -> Friedman | None:
    """Test whether ranks [datasets, algorithms] differ by more than chance; None without a spread.

    The statistic is corrected for ties (Conover, Practical Nonparametric Statistics, 1999,
    5.8), and judged as F with k - 1 and (k - 1)(n - 1) degrees of freedom (Iman and Davenport,
    1980), since chi-squared is too conservative (Demšar, JMLR 7, 2006). Where all datasets
    agree on one order F is infinite, and p that of n - 1 datasets repeating the first one's.
    """
    from scipy.special import fdtrc

    n, k = ranks.shape
    if n < 2 or k < 2:
        return None
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())
    if spread == 0:
        return None
    sums = ranks.sum(axis=0)
    statistic = (k - 1) * float(((sums - n * (k + 1) / 2) ** 2).sum()) / spread
    degrees = (k - 1, (k - 1) * (n - 1))
    rest = n * (k - 1) - statistic
    if rest <= 1e-9 * n * k:
        return Friedman(statistic, math.inf, degrees, math.factorial(k) ** -float(n - 1))
    f = (n - 1) * statistic / rest
    return Friedman(statistic, f, degrees, float(fdtrc(*degrees, f)))


def nemenyi_difference(algorithms: int, datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks (Demšar, JMLR 7, 2006, 3.2.2).

    Its quantile is that of the studentized range with infinite degrees of freedom, over √2.
    """
    # Only here: to import scipy.stats takes longer than all else.
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - alpha, algorithms, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(algorithms * (algorithms + 1) / (6 * datasets))


def signed_rank(differences: Sequence[float]) -> tuple[float, float]:
    """Test that differences centre on 0 by Wilcoxon's signed ranks; return balance and p.

    The balance is the sum of the positive ranks less that of the negative; p is two-sided.
    Zeros take part in the ranking and then drop out (Pratt, JASA 54, 1959). The distribution is
    exact, given the ties, for up to ``MOST_EXACT`` differences that are not 0, and normal beyond.
    """
    from scipy.special import ndtr

    values = np.asarray(differences, dtype=np.float64)
    sizes = np.abs(values)
    # The average of the ranks that equal sizes share.
    below = (sizes[:, None] > sizes).sum(axis=1)
    ranks = (below + ((sizes[:, None] == sizes).sum(axis=1) + 1) / 2)[values != 0]
    positive = values[values != 0] > 0
    if not len(ranks):
        return 0.0, 1.0
    balance = float(ranks[positive].sum() - ranks[~positive].sum())
    # Mid-ranks are halves: doubled, they are whole numbers, which index the distribution.
    doubled = np.rint(2 * ranks).astype(np.int64)
    total, least = int(doubled.sum()), int(doubled[positive].sum())
    least = min(least, total - least)
    if len(doubled) > MOST_EXACT:
        z = (least + 1 - total / 2) / math.sqrt(float((doubled**2).sum()) / 4)
        return balance, min(1.0, 2 * float(ndtr(z)))
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chances)
        moved[rank:] = chances[: total + 1 - rank]
        chances = (chances + moved) / 2
    return balance, min(1.0, 2 * float(chances[: least + 1].sum()))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values adjusted for their number, in the order given (Holm, 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for step, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)


def find_groups(count: int, apart: set[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Return the largest sets of places 0 to ``count`` - 1 of which no two are ``apart``.

    A set of one is none. Sets may overlap, and need not be neighbours: they are the maximal
    cliques (Bron and Kerbosch, 1973) of the graph whose edges are the pairs not told apart.
    """
    near = [
        {b for b in range(count) if b != a and (a, b) not in apart and (b, a) not in apart}
        for a in range(count)
    ]
    found: list[tuple[int, ...]] = []

    def grow(chosen: set[int], open_: set[int], closed: set[int]) -> None:
        if not open_ and not closed:
            found.append(tuple(sorted(chosen)))
            return
        pivot = max(sorted(open_ | closed), key=lambda place: len(near[place] & open_))
        for place in sorted(open_ - near[pivot]):
            grow(chosen | {place}, open_ & near[place], closed & near[place])
            open_ = open_ - {place}
            closed = closed | {place}

    grow(set(), set(range(count)), set())
    return tuple(sorted(group for group in found if len(group) > 1))
