"""Build the overview as data: what changed since the last run first, then the newest run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.digest import CellDigest
from harness.report.frame import link_cell
from harness.report.heatmap import Heatmap, build_heatmaps, state_of
from harness.report.pages import (
    CellReport,
    RunSummary,
    TestReport,
    describe_machine,
    list_unexplained,
    report_cell,
    report_test,
    write_headline,
)
from harness.report.sayings import say_what_changes_share, say_where_frameworks_drift
from harness.report.text import count
from harness.report.trendwords import (
    write_commits,
    write_effect,
    write_interval,
    write_measure,
    write_since,
)
from harness.store.journal import RunJournal
from harness.trends.blame import Blame
from harness.trends.trend import Trend

Tone = Literal["good", "warn", "bad"]
Kind = Literal["regressed", "suspect", "improved", "failing", "unavailable", "fixed", "quiet"]


@dataclass(frozen=True)
class Change:
    """Hold one line of what changed; texts that do not apply are empty.

    ``effect`` and ``interval`` are relative to the level before. ``report`` is set for a cell
    that fails, ``blame`` for a trend between two runs.
    """

    cell: str
    link: str
    measure: str = ""
    effect: str = ""
    interval: str = ""
    since: str = ""
    commits: str = ""
    evidence: str = ""
    report: CellReport | None = None
    blame: Blame | None = None


@dataclass(frozen=True)
class ChangeGroup:
    """Hold the changes of one kind, worst first; ``anchor`` is the group's fragment."""

    anchor: str
    kind: Kind
    symbol: str
    title: str
    meaning: str
    changes: tuple[Change, ...]
    folded: bool = False


@dataclass(frozen=True)
class OverviewPage:
    """Hold everything that the overview shows, in the order in which it shows it.

    ``base`` is the run that the newest is compared with, None where there is none. ``sayings``
    are sentences on what could not be compared or judged.
    """

    summary: RunSummary
    base: RunSummary | None
    headline: str
    tone: Tone
    result: str
    sayings: tuple[str, ...]
    damage: tuple[str, ...]
    counts: tuple[ChangeGroup, ...]
    groups: tuple[ChangeGroup, ...]
    tests: tuple[TestReport, ...]
    heatmaps: tuple[Heatmap, ...]
    environment: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]


def build_overview(
    run: RunJournal,
    summaries: Sequence[RunSummary],
    base: tuple[RunSummary, Mapping[str, CellDigest]] | None,
    trends: Sequence[Trend],
) -> OverviewPage:
    """Build the overview of the newest run.

    ``summaries`` are those of all runs, newest first; ``base`` is the run to compare with and
    its cells. A cell that fails in both runs is still failing; one that the base run did not
    have, or where it was unavailable, and that fails now, is newly failing.
    """
    summary = summaries[0]
    places = {one.name: place for place, one in enumerate(summaries)}
    groups = (*_group_trends(trends, places), *_group_failures(run, base))
    order: tuple[str, ...] = (
        "regressed",
        "suspect",
        "newly-failing",
        "failing",
        "newly-unavailable",
        "improved",
        "fixed",
        "still-failing",
        "quiet",
    )
    groups = tuple(sorted(groups, key=lambda group: order.index(group.anchor)))
    found = {group.anchor: group for group in groups}
    headline, tone = _write_headline(run, found, summary, base is not None, bool(trends))
    return OverviewPage(
        summary=summary,
        base=base[0] if base else None,
        headline=headline,
        tone=tone,
        result=write_headline(summary),
        sayings=_write_sayings(run, base, trends, len(summaries)),
        damage=run.damage,
        counts=groups,
        groups=tuple(group for group in groups if group.changes),
        tests=tuple(report_test(line) for line in list_unexplained(run)),
        heatmaps=build_heatmaps(run.records, {r.cell: link_cell(r.cell) for r in run.records}),
        environment=describe_machine(run.head) if run.head else (),
        packages=tuple(sorted(run.head.packages.items())) if run.head else (),
    )


def choose_summary(summaries: Sequence[RunSummary]) -> RunSummary | None:
    """Return the newest finished run with cells among those before the newest; None of none."""
    earlier = summaries[1:]
    return next((one for one in earlier if one.finished and one.totals.cells), None)


def _group_trends(trends: Sequence[Trend], places: Mapping[str, int]) -> tuple[ChangeGroup, ...]:
    def changes(chosen: list[Trend]) -> tuple[Change, ...]:
        def rank(trend: Trend) -> tuple[int, float]:
            place = places.get(trend.since.run_after, len(places)) if trend.since else len(places)
            return (place, -abs(trend.effect or 0.0))

        return tuple(
            Change(
                cell=trend.cell,
                link=link_cell(trend.cell),
                measure=write_measure(trend.measure),
                effect=write_effect(trend.effect),
                interval=write_interval(trend.interval),
                since=write_since(trend.since, places),
                commits=write_commits(trend.since),
                evidence=trend.evidence,
                blame=trend.blame,
            )
            for trend in sorted(chosen, key=rank)
        )

    def choose(state: str) -> tuple[Change, ...]:
        return changes([trend for trend in trends if trend.state == state])

    quiet = [trend for trend in trends if trend.state == "unchanged" and trend.changed]
    return (
        ChangeGroup(
            "regressed",
            "regressed",
            "↘",
            "Regressed",
            "Worse than before, by more than chance and by an effect that matters.",
            choose("regressed"),
        ),
        ChangeGroup(
            "suspect",
            "suspect",
            "?",
            "Suspect",
            "The newest value stands out, and no second measurement has confirmed it yet.",
            choose("suspect"),
        ),
        ChangeGroup(
            "improved", "improved", "↗", "Improved", "Better than before.", choose("improved")
        ),
        ChangeGroup(
            "quiet",
            "quiet",
            "≈",
            "Changed, too little to matter",
            "The values differ, by less than the smallest effect that matters.",
            changes(quiet),
            folded=True,
        ),
    )


def _group_failures(
    run: RunJournal, base: tuple[RunSummary, Mapping[str, CellDigest]] | None
) -> tuple[ChangeGroup, ...]:
    before = base[1] if base else {}
    failed = [record for record in run.records if state_of(record) == "failed"]
    missing = [
        record
        for record in run.records
        if state_of(record) == "unavailable"
        and (old := before.get(record.cell)) is not None
        and old.state != "unavailable"
    ]

    def failing(names: set[str]) -> tuple[Change, ...]:
        return tuple(
            Change(
                cell=record.cell,
                link=link_cell(record.cell),
                report=report_cell(record, link_cell(record.cell), run.head),
            )
            for record in (*failed, *missing)
            if record.cell in names
        )

    every = {record.cell for record in failed}
    if base is None:
        meaning = "There is no earlier run to tell whether they failed before."
        return (ChangeGroup("failing", "failing", "✕", "Failing", meaning, failing(every)),)
    both = {cell for cell in every if cell in before and before[cell].state == "failed"}
    fixed = tuple(
        Change(
            cell=record.cell,
            link=link_cell(record.cell),
            evidence=f"was: {old.outcome_word}" + (f": {old.reason}" if old.reason else ""),
        )
        for record in run.records
        if (old := before.get(record.cell)) is not None
        and old.state == "failed"
        and state_of(record) in ("passed", "expected")
    )
    return (
        ChangeGroup(
            "newly-failing",
            "failing",
            "✕",
            "Newly failing",
            f"Did not fail in the run {base[0].name}.",
            failing(every - both),
        ),
        ChangeGroup(
            "newly-unavailable",
            "unavailable",
            "○",
            "Newly unavailable",
            f"Could not run, and did in the run {base[0].name}.",
            failing({record.cell for record in missing}),
        ),
        ChangeGroup("fixed", "fixed", "✓", "Fixed", "Failed before, and no longer.", fixed),
        ChangeGroup(
            "still-failing",
            "failing",
            "✕",
            "Still failing",
            "Failed in the run before too.",
            failing(both),
            folded=True,
        ),
    )


def _write_headline(
    run: RunJournal,
    groups: Mapping[str, ChangeGroup],
    summary: RunSummary,
    compared: bool,
    judged: bool,
) -> tuple[str, Tone]:
    numbers = {name: len(group.changes) for name, group in groups.items()}
    bad = [
        f"{numbers[name]} {words}"
        for name, words in (("regressed", "regressed"), ("newly-failing", "newly failing"))
        if numbers.get(name)
    ]
    other = [
        f"{numbers[name]} {name.replace('-', ' ')}"
        for name in ("suspect", "newly-unavailable", "improved", "fixed")
        if numbers.get(name)
    ]
    text = ", ".join([*bad, *other])
    failing = summary.totals.failed or summary.failed_tests
    sound = summary.finished and not run.damage and summary.totals.cells
    doubtful = numbers["suspect"] or numbers.get("newly-unavailable") or not sound
    tone: Tone = "bad" if bad or failing else "warn" if doubtful else "good"
    if text:
        return text[0].upper() + text[1:], tone
    if not compared and not judged:
        return write_headline(summary), tone
    if not judged:
        return f"No cell changed its outcome: {write_headline(summary)}", tone
    # Tests that no cell explains are not compared with those of the run before.
    word = "No cell changed" if summary.failed_tests else "Nothing changed"
    return f"{word}: {write_headline(summary)}", tone


def _write_sayings(
    run: RunJournal,
    base: tuple[RunSummary, Mapping[str, CellDigest]] | None,
    trends: Sequence[Trend],
    runs: int,
) -> tuple[str, ...]:
    sayings = []
    if runs == 1:
        sayings.append("This is the only run, so there is nothing to compare it with yet.")
    elif base is None:
        sayings.append("No earlier run finished with cells, so there is none to compare with.")
    else:
        now = {record.cell for record in run.records}
        missing = [cell for cell in base[1] if cell not in now]
        if missing:
            sayings.append(
                f"{count(len(missing), 'cell')} of the run {base[0].name} did not run this time."
            )
        fresh = now - base[1].keys()
        if fresh:
            sayings.append(f"{count(len(fresh), 'cell')} ran that the run before did not have.")
    if runs > 1:
        sayings.append(
            f"{len(trends):,} series of scores, times and memory were judged."
            if trends
            else "No series was judged, so nothing is said of scores, times and memory."
        )
    sayings += say_what_changes_share(trends, run.records)
    sayings += say_where_frameworks_drift(run.records)
    return tuple(sayings)
