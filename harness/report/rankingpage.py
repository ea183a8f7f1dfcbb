"""Build the pages that compare algorithms, and frameworks, over datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.best import mean_fit
from harness.report.diagrams import RankDiagram, SpeedDiagram, draw_ranks, draw_speed
from harness.report.heatmap import TASKS
from harness.report.reference import Reference
from harness.report.text import NOTHING, count, write_moment
from harness.store.record import Record
from harness.trends.ranks import (
    ALPHA,
    Entry,
    Failures,
    Pair,
    Ranking,
    Reranking,
    rank_algorithms,
    rank_frameworks,
)

Subject = Literal["algorithms", "frameworks"]
WAYS: dict[Failures, str] = {
    "baseline": "as the baseline",
    "left_out": "datasets with one left out",
    "worst": "as the last",
}


@dataclass(frozen=True)
class Meeting:
    """Hold a square of the matrix of pairs: the row's wins, losses and ties against the column."""

    wins: int
    losses: int
    ties: int
    p: str
    verdict: Literal["better", "worse", "level"]


@dataclass(frozen=True)
class RankingSection:
    """Hold one comparison: its ranking, its diagrams, and what they say in words.

    ``matrix`` has a row per standing, None on the diagonal; ``ways`` the names of the
    rerankings that have ranks.
    """

    anchor: str
    title: str
    basis: str
    left_out: str
    findings: tuple[str, ...]
    ranking: Ranking
    diagram: RankDiagram
    matrix: tuple[tuple[Meeting | None, ...], ...]
    ways: tuple[tuple[str, int, tuple[float, ...]], ...]
    sensitivity: str
    speed: SpeedDiagram | None
    speed_basis: str


@dataclass(frozen=True)
class RankingPage:
    """Hold a page of comparisons: over all datasets first, then task by task."""

    subject: Subject
    title: str
    run: str
    started: str
    passed_over: str
    reused: str
    tuned: str
    sections: tuple[RankingSection, ...]
    nothing: str


def make_entries(records: Sequence[Record]) -> list[Entry]:
    """Return what is compared: every cell whose framework was there, also those that failed.

    A cell has failed that has no score. What its data could not give, as where they are
    invalid, it has failed at, too.
    """
    return [
        Entry(
            dataset=record.dataset,
            algorithm=record.algorithm,
            framework=record.framework,
            mode=record.mode,
            score=record.score.value if record.score else None,
            baseline=record.score.baseline if record.score else None,
            greater_is_better=_is_greater_better(record, records),
            fit_seconds=mean_fit(record.result),
            failed=record.outcome != "ok" or record.score is None,
        )
        for record in records
        if record.outcome != "unavailable"
    ]


def _is_greater_better(record: Record, records: Sequence[Record]) -> bool:
    if record.score is not None:
        return record.score.greater_is_better
    others = (one.score for one in records if one.dataset == record.dataset and one.score)
    return next((score.greater_is_better for score in others), True)


def build_ranking_page(subject: Subject, reference: Reference) -> RankingPage:
    """Build the page of algorithms, or of frameworks, from the records of one run.

    Tuned models are ranked among themselves, after the others: the best of many trials stands
    beside no model that was trained once as it is declared.
    """
    swept = tuple(one for one in reference.records if one.mode == "sweep")
    records = tuple(one for one in reference.records if one.mode != "sweep")
    groups = [("all", "All datasets", records)]
    groups += [
        (task, task.capitalize(), tuple(one for one in records if one.task == task))
        for task in TASKS
    ]
    held = [group for group in groups if group[2]]
    # With a single task, its section would be the first once more.
    sections = [
        section
        for anchor, title, chosen in (held if len(held) > 2 else held[:1])
        if (section := _build_section(subject, anchor, title, chosen)) is not None
    ]
    tuned = _build_section(subject, "tuned", "Tuned models", swept)
    reused = sum(record.reused is not None for record in reference.records)
    newer = count(reference.passed_over, "newer run") if reference.passed_over else ""
    return RankingPage(
        subject=subject,
        title=subject.capitalize(),
        run=reference.run,
        started=write_moment(reference.started),
        passed_over=f"{newer} with less than half as many cells passed over." if newer else "",
        reused=f"{count(reused, 'cell')} reused from earlier runs: seconds are from there."
        if reused
        else "",
        sections=(*sections, tuned) if tuned else tuple(sections),
        tuned=_tell_tuned(swept, tuned),
        nothing=f"No two {subject} share a dataset with scores in this run.",
    )


def _tell_tuned(swept: Sequence[Record], section: RankingSection | None) -> str:
    if not swept:
        return ""
    text = f"{count(len(swept), 'sweep')} left out: a tuned model is the best of many trials"
    if section is None:
        return f"{text}, and no two can be compared with each other."
    return (
        f"{text}. Tuned models are ranked among themselves, at the end; their seconds of a fit are "
        "those of the refits, without the search."
    )


def _build_section(
    subject: Subject, anchor: str, title: str, records: Sequence[Record]
) -> RankingSection | None:
    entries = make_entries(records)
    ranking = (rank_algorithms if subject == "algorithms" else rank_frameworks)(entries)
    if ranking is None:
        return None
    return RankingSection(
        anchor=anchor,
        title=title,
        basis=_tell_basis(subject, ranking),
        left_out=_tell_left_out(ranking),
        findings=tuple(_tell_findings(ranking)),
        ranking=ranking,
        diagram=draw_ranks(ranking),
        matrix=_build_matrix(ranking),
        ways=tuple((WAYS[one.failures], one.datasets, one.ranks) for one in ranking.rerankings),
        sensitivity=_tell_sensitivity(ranking),
        speed=draw_speed(ranking.standings),
        speed_basis=_tell_speed(ranking),
    )


def _tell_basis(subject: Subject, ranking: Ranking) -> str:
    datasets = count(len(ranking.datasets), "dataset")
    text = f"{len(ranking.standings)} {subject} on the {datasets} that all of them ran on"
    if subject == "frameworks":
        text += ", by the algorithms that all of them have there"
    if ranking.absent:
        has = "is" if len(ranking.absent) == 1 else "are"
        text += f"; {count(len(ranking.absent), 'other')} {has} not common to all, or without score"
    return text + "."


def _tell_left_out(ranking: Ranking) -> str:
    if not ranking.left_out:
        return ""
    names = ", ".join(f"{name} ({count(n, 'dataset')})" for name, n in ranking.left_out)
    return f"Not compared, since too few datasets would be common to all: {names}."


def _tell_findings(ranking: Ranking) -> list[str]:
    found = []
    test = ranking.friedman
    if test is None:
        found.append("All are level, or there is one dataset only: there is nothing to test.")
    else:
        word = "they differ" if test.p <= ALPHA else "they may all be the same"
        f = "infinite" if test.f == float("inf") else f"{test.f:.2f}"
        found.append(
            f"Friedman's test of all at once: F({test.degrees[0]}, {test.degrees[1]}) = {f}, "
            f"p {write_p(test.p)}: {word}."
        )
    apart = sum(pair.p <= ALPHA for pair in ranking.pairs)
    if ranking.least_p > ALPHA:
        found.append(
            f"With {count(len(ranking.datasets), 'dataset')} no pair of them can be told apart, "
            f"whatever the scores: p cannot fall below {ranking.least_p:.2g}."
        )
    else:
        found.append(
            f"{apart} of {count(len(ranking.pairs), 'pair')} told apart at {ALPHA:.0%} by "
            "Wilcoxon's signed-rank test with Holm's correction."
        )
    if ranking.critical_difference is not None:
        found.append(
            "Nemenyi's critical difference of mean ranks would be "
            f"{ranking.critical_difference:.2f}; the bars do not stand on it."
        )
    return found


def write_p(p: float) -> str:
    """Return a p value in short: = 0.0432, or < 0.0001."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.3g}"


def _build_matrix(ranking: Ranking) -> tuple[tuple[Meeting | None, ...], ...]:
    pairs = {(pair.first, pair.second): pair for pair in ranking.pairs}
    places = range(len(ranking.standings))

    def meet(row: int, column: int) -> Meeting | None:
        if row == column:
            return None
        pair = pairs[min(row, column), max(row, column)]
        return _meet(pair, turned=row > column)

    return tuple(tuple(meet(row, column) for column in places) for row in places)


def _meet(pair: Pair, turned: bool) -> Meeting:
    wins, losses = (pair.losses, pair.wins) if turned else (pair.wins, pair.losses)
    is_ahead = (pair.balance > 0) != turned
    verdict: Literal["better", "worse", "level"] = "better" if is_ahead else "worse"
    if pair.p > ALPHA:
        verdict = "level"
    return Meeting(wins, losses, pair.ties, write_p(pair.p), verdict)


def _tell_sensitivity(ranking: Ranking) -> str:
    failed = sum(standing.failed for standing in ranking.standings)
    if not failed:
        return "No cell failed, so the ranking does not depend on how failures are taken."
    others = [one for one in ranking.rerankings if one.failures != "baseline"]
    changes = [one for one in others if one.ranks and not one.order]
    without = [one for one in others if not one.ranks]
    text = "The order is the same whichever way failed cells are taken."
    if changes:
        text = "The order depends on how failed cells are taken: " + "; ".join(
            _tell_change(ranking, one) for one in changes
        )
        text += "."
    if without:
        text += " On every dataset a cell failed, so that none is left without."
    return text


def _tell_change(ranking: Ranking, one: Reranking) -> str:
    names = [standing.name for standing in ranking.standings]
    order = sorted(range(len(names)), key=lambda place: one.ranks[place])
    moved = [names[place] for new, place in enumerate(order) if new != place]
    way = {"left_out": "without the datasets that have one", "worst": "as the last"}[one.failures]
    return f"{way}, {' and '.join(moved[:4]) if len(moved) < 5 else f'{len(moved)} of them'} move"


def _tell_speed(ranking: Ranking) -> str:
    if not ranking.timed:
        return "On no dataset do all of them have a time."
    front = ", ".join(standing.name for standing in ranking.standings if standing.front)
    return (
        f"Seconds of a fit, geometric mean over {count(ranking.timed, 'dataset')} on which all "
        f"have one, in this run. None is both faster and better than: {front or NOTHING}."
    )
