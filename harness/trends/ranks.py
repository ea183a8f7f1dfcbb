"""Compare algorithms, or frameworks, over datasets: ranks, which differ, and speed.

Everything stands on normalised scores: on each dataset 0 is the baseline's and 1 the best of
those compared, so that metrics of any unit and direction can be put side by side. Two scores
within ``TIE`` of one another are a tie, as two models within 1 % are practically equivalent in
Benavoli, Corani, Demšar and Zaffalon, "Time for a change", JMLR 18, 2017.

Pairs are told apart by Wilcoxon's signed-rank test with Holm's correction, and not by Nemenyi's
critical difference of mean ranks: with that, whether two algorithms differ depends on which
others stand beside them (Benavoli, Corani and Mangili, "Should we really use post-hoc tests
based on mean-ranks?", JMLR 17, 2016). The test before it, of all at once, is Friedman's
(Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.trends.ranktests import (
    Friedman,
    find_groups,
    friedman,
    holm,
    nemenyi_difference,
    signed_rank,
)

TIE = 0.01
ALPHA = 0.05
DRAWS = 10_000
# Of the datasets that the closest two share, all who are compared must share so many.
COVERAGE = 0.5

Failures = Literal["baseline", "left_out", "worst"]
FAILURES: tuple[Failures, ...] = ("baseline", "left_out", "worst")


@dataclass(frozen=True)
class Entry:
    """Hold one cell's score beside its baseline's; a cell that ``failed`` has no score.

    ``fit_seconds`` is the mean over replicates, None where there is none. A cell that was not
    applicable, or whose framework was unavailable, has no entry.
    """

    dataset: str
    algorithm: str
    framework: str
    mode: str
    score: float | None
    baseline: float | None
    greater_is_better: bool
    fit_seconds: float | None
    failed: bool

    @property
    def variant(self) -> str:
        """Return the algorithm, with its mode where that is another than train."""
        return self.algorithm if self.mode == "train" else f"{self.algorithm} · {self.mode}"


@dataclass(frozen=True)
class Standing:
    """Hold how one algorithm, or framework, does; a smaller ``rank`` is better, 1 the best.

    ``low`` and ``high`` are the rank's 95 % interval over datasets; ``score`` is the mean of the
    normalised scores, those below the baseline's taken as 0; ``seconds`` the geometric mean of
    its fits on the datasets where all have one, None without such. ``front`` says that none is
    both faster and better. ``failed`` counts the datasets on which a cell of it failed.
    """

    name: str
    rank: float
    low: float
    high: float
    score: float
    seconds: float | None
    front: bool
    failed: int


@dataclass(frozen=True)
class Pair:
    """Hold two of them, by their places: datasets won by the first, lost, tied; Holm's p.

    ``balance`` is that of the signed ranks, positive where they speak for the first.
    """

    first: int
    second: int
    wins: int
    losses: int
    ties: int
    balance: float
    p: float


@dataclass(frozen=True)
class Reranking:
    """Hold the mean ranks with failed cells taken otherwise, in the order of the standings.

    ``order`` says whether the standings stand in the same order by these ranks, ties aside.
    """

    failures: Failures
    datasets: int
    ranks: tuple[float, ...]
    order: bool


@dataclass(frozen=True)
class Ranking:
    """Hold a comparison over the ``datasets`` that all of its standings have, best first.

    ``left_out`` says who was not compared, and on how many datasets it ran; ``absent`` are the
    datasets that not all have, or where no cell has a score. ``groups`` are the largest sets of
    places of which no two are told apart. ``timed`` counts the datasets behind the seconds.
    ``least_p`` is the smallest p that Holm's correction leaves possible with so many datasets;
    where that tells no pair apart, Nemenyi's ``critical_difference`` is not computed either.
    """

    datasets: tuple[str, ...]
    absent: tuple[str, ...]
    standings: tuple[Standing, ...]
    left_out: tuple[tuple[str, int], ...]
    friedman: Friedman | None
    critical_difference: float | None
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    rerankings: tuple[Reranking, ...]
    timed: int
    least_p: float


Table = Mapping[str, Mapping[str, Sequence[Entry]]]


def rank_algorithms(entries: Sequence[Entry], seed: int = 0, tie: float = TIE) -> Ranking | None:
    """Compare algorithms over datasets; None where no two share one.

    An algorithm's score on a dataset is the mean over the frameworks in which it ran there, a
    failed one counting as the baseline, and it failed there if it did in any.
    """
    table = _tabulate((entry.variant, entry) for entry in entries)

    def shared(names: Sequence[str]) -> set[str]:
        return set.intersection(*(set(table[name]) for name in names))

    names, left_out = _choose(table, shared)
    return _rank(table, names, left_out, seed, tie)


def rank_frameworks(entries: Sequence[Entry], seed: int = 0, tie: float = TIE) -> Ranking | None:
    """Compare frameworks over datasets; None where no two share a cell.

    A framework's score on a dataset is the mean over the algorithms that all the frameworks
    compared have there; a dataset counts once, however many algorithms ran on it.
    """
    table = _tabulate((entry.framework, entry) for entry in entries)

    def variants(names: Sequence[str], dataset: str) -> set[str]:
        having = ({one.variant for one in table[name].get(dataset, ())} for name in names)
        return set.intersection(*having)

    def shared(names: Sequence[str]) -> set[str]:
        return {dataset for dataset in table[names[0]] if variants(names, dataset)}

    names, left_out = _choose(table, shared)
    matched = {
        name: {
            dataset: [one for one in cells if one.variant in variants(names, dataset)]
            for dataset, cells in table[name].items()
        }
        for name in names
    }
    return _rank(matched, names, left_out, seed, tie)


def normalise(values: NDArray[np.float64], baselines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values [datasets, names] with 0 for the dataset's baseline and 1 for the best.

    Where none is better than the baseline, the farthest from it is at -1; a dataset on which
    all are as good as the baseline is 0.
    """
    above = values - baselines[:, None]
    finite = np.where(np.isfinite(above), above, 0.0)
    best = finite.max(axis=1)
    scale = np.where(best > 0, best, np.abs(finite).max(axis=1))
    return above / np.where(scale > 0, scale, 1.0)[:, None]


def mean_ranks(scores: NDArray[np.float64], tie: float = TIE) -> NDArray[np.float64]:
    """Return ranks [datasets, names], 1 for the best; with no tolerance, average ranks for ties.

    A rank is 1 and the others that are better by more than ``tie``, ties counting half, so the
    ranks of a dataset have the same sum always. Two of minus infinity are a tie.
    """
    with np.errstate(invalid="ignore"):
        ahead = scores[:, None, :] - scores[:, :, None]
    ahead = np.where(np.isnan(ahead), 0.0, ahead)
    better = (ahead > tie).sum(axis=2)
    level = (np.abs(ahead) <= tie).sum(axis=2) - 1
    ranks: NDArray[np.float64] = 1.0 + better + level / 2
    return ranks


def _tabulate(named: Iterable[tuple[str, Entry]]) -> dict[str, dict[str, list[Entry]]]:
    table: dict[str, dict[str, list[Entry]]] = {}
    for name, entry in named:
        table.setdefault(name, {}).setdefault(entry.dataset, []).append(entry)
    return {name: table[name] for name in sorted(table)}


def _choose(
    table: Table, shared: Callable[[Sequence[str]], set[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """Return who is compared and who is left out, with the number of datasets it has.

    One is left out at a time, that which costs the others the most datasets, until the rest
    share ``COVERAGE`` of what the two that share the most do.
    """
    names = list(table)
    most = max((len(shared(pair)) for pair in combinations(names, 2)), default=0)
    out: list[str] = []
    while len(names) > 2 and len(shared(names)) < COVERAGE * most:
        worst = max(
            names,
            key=lambda one: (len(shared([n for n in names if n != one])), -len(table[one]), one),
        )
        names.remove(worst)
        out.append(worst)
    return tuple(names), tuple((name, len(table[name])) for name in sorted(out))


def _rank(
    table: Table,
    names: tuple[str, ...],
    left_out: tuple[tuple[str, int], ...],
    seed: int,
    tie: float,
) -> Ranking | None:
    if len(names) < 2:
        return None
    known = sorted({dataset for name in names for dataset in table[name]})
    datasets = [dataset for dataset in known if _is_scored(table, names, dataset)]
    if not datasets:
        return None
    baselines = np.array([_baseline(table, names, dataset) for dataset in datasets])
    cells = [[table[name][dataset] for name in names] for dataset in datasets]
    values = np.array(
        [[_value(one, base) for one in row] for row, base in zip(cells, baselines, strict=True)]
    )
    failed = np.array([[any(entry.failed for entry in one) for one in row] for row in cells])
    scores = normalise(values, baselines)
    ranks = mean_ranks(scores, tie)
    order = sorted(range(len(names)), key=lambda place: (ranks[:, place].mean(), names[place]))
    scores, ranks, failed = scores[:, order], ranks[:, order], failed[:, order]
    seconds = np.array([[_seconds(row[place]) for place in order] for row in cells])
    timed = seconds[np.isfinite(seconds).all(axis=1)]
    pairs = _compare_pairs(scores, tie)
    least_p = min(1.0, len(pairs) * 2.0 ** (1 - len(datasets)))
    apart = {(pair.first, pair.second) for pair in pairs if pair.p <= ALPHA}
    return Ranking(
        datasets=tuple(datasets),
        absent=tuple(dataset for dataset in known if dataset not in datasets),
        standings=_list_standings([names[p] for p in order], scores, ranks, failed, timed, seed),
        left_out=left_out,
        friedman=friedman(ranks),
        critical_difference=nemenyi_difference(len(names), len(datasets), ALPHA)
        if least_p <= ALPHA
        else None,
        pairs=pairs,
        groups=find_groups(len(names), apart),
        rerankings=_rerank(values[:, order], baselines, failed, tie),
        timed=len(timed),
        least_p=least_p,
    )


def _is_scored(table: Table, names: Sequence[str], dataset: str) -> bool:
    cells = [table[name].get(dataset, ()) for name in names]
    return all(cells) and any(one.baseline is not None for found in cells for one in found)


def _baseline(table: Table, names: Sequence[str], dataset: str) -> float:
    cells = [entry for name in names for entry in table[name][dataset]]
    sign = 1 if cells[0].greater_is_better else -1
    return sign * statistics.median(one.baseline for one in cells if one.baseline is not None)


def _value(cells: Sequence[Entry], baseline: float) -> float:
    sign = 1 if cells[0].greater_is_better else -1
    return statistics.fmean(
        baseline if one.failed or one.score is None else sign * one.score for one in cells
    )


def _seconds(cells: Sequence[Entry]) -> float:
    known = [one.fit_seconds for one in cells if not one.failed and one.fit_seconds]
    return statistics.fmean(known) if len(known) == len(cells) else math.nan


def _list_standings(
    names: Sequence[str],
    scores: NDArray[np.float64],
    ranks: NDArray[np.float64],
    failed: NDArray[np.bool_],
    timed: NDArray[np.float64],
    seed: int,
) -> tuple[Standing, ...]:
    draws = np.random.default_rng(seed).integers(len(ranks), size=(DRAWS, len(ranks)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=len(ranks))
    low, high = np.percentile(counts @ ranks / len(ranks), [2.5, 97.5], axis=0)
    means = np.clip(scores, 0, None).mean(axis=0)
    seconds = np.exp(np.log(timed).mean(axis=0)) if len(timed) else None
    return tuple(
        Standing(
            name=name,
            rank=float(ranks[:, place].mean()),
            low=float(low[place]),
            high=float(high[place]),
            score=float(means[place]),
            seconds=None if seconds is None else float(seconds[place]),
            front=seconds is not None and not _is_dominated(place, seconds, means),
            failed=int(failed[:, place].sum()),
        )
        for place, name in enumerate(names)
    )


def _is_dominated(place: int, seconds: NDArray[np.float64], scores: NDArray[np.float64]) -> bool:
    no_worse = (seconds <= seconds[place]) & (scores >= scores[place])
    better = (seconds < seconds[place]) | (scores > scores[place])
    return bool((no_worse & better).any())


def _compare_pairs(scores: NDArray[np.float64], tie: float) -> tuple[Pair, ...]:
    places = list(combinations(range(scores.shape[1]), 2))
    differences = [scores[:, first] - scores[:, second] for first, second in places]
    differences = [np.where(np.abs(one) <= tie, 0.0, one) for one in differences]
    tests = [signed_rank(list(one)) for one in differences]
    adjusted = holm([p for _, p in tests])
    return tuple(
        Pair(
            first=first,
            second=second,
            wins=int((one > 0).sum()),
            losses=int((one < 0).sum()),
            ties=int((one == 0).sum()),
            balance=balance,
            p=p,
        )
        for (first, second), one, (balance, _), p in zip(
            places, differences, tests, adjusted, strict=True
        )
    )


def _rerank(
    values: NDArray[np.float64],
    baselines: NDArray[np.float64],
    failed: NDArray[np.bool_],
    tie: float,
) -> tuple[Reranking, ...]:
    whole = ~failed.any(axis=1)
    cases = {
        "baseline": (values, baselines),
        "left_out": (values[whole], baselines[whole]),
        "worst": (np.where(failed, -np.inf, values), baselines),
    }
    found = []
    for failures in FAILURES:
        taken, beside = cases[failures]
        if not len(taken):
            found.append(Reranking(failures, 0, (), False))
            continue
        ranks = mean_ranks(normalise(taken, beside), tie).mean(axis=0)
        order = bool((np.diff(ranks) >= -1e-9).all())
        found.append(Reranking(failures, len(taken), tuple(map(float, ranks)), order))
    return tuple(found)
