"""Build the list of all runs as data, and how their failures went over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.digest import RunDigest
from harness.report.pages import RunSummary
from harness.report.text import count


@dataclass(frozen=True)
class RunLine:
    """Hold a run's line; ``link`` is the way to its page, empty where none is made."""

    summary: RunSummary
    moment: str
    stem: str
    link: str
    failures: str


@dataclass(frozen=True)
class RunsPage:
    """Hold all runs, newest first; ``outcomes`` are the kinds of failure, the frequent first."""

    lines: tuple[RunLine, ...]
    headline: str
    outcomes: tuple[str, ...]
    series: dict[str, object]

    @property
    def choices(self) -> list[tuple[str, str, str, str]]:
        """Return each run's name, start, commit and data file, for choosing two to compare."""
        return [
            (line.summary.name, line.summary.started, line.summary.commit, line.stem)
            for line in self.lines
        ]


def build_runs_page(digests: Sequence[RunDigest], pages: frozenset[str]) -> RunsPage:
    """Build the list of runs from their digests, newest first; ``pages`` name those with a page."""
    totals: dict[str, int] = {}
    for digest in digests:
        for name, number in digest.failures:
            totals[name] = totals.get(name, 0) + number
    outcomes = tuple(sorted(totals, key=lambda name: (-totals[name], name)))
    oldest_first = list(reversed(digests))
    failed = sum(1 for digest in digests if digest.failures)
    headline = count(len(digests), "run")
    headline += f", {failed} with failures" if failed else ", none with a failure"
    return RunsPage(
        lines=tuple(
            RunLine(
                summary=digest.summary,
                moment=digest.moment,
                stem=digest.stem,
                link=digest.summary.name if digest.summary.name in pages else "",
                failures=", ".join(f"{number} {name}" for name, number in digest.failures),
            )
            for digest in digests
        ),
        headline=headline,
        outcomes=outcomes,
        series={
            "runs": [digest.summary.name for digest in oldest_first],
            "moments": [digest.moment for digest in oldest_first],
            "outcomes": [
                [name, [dict(digest.failures).get(name, 0) for digest in oldest_first]]
                for name in outcomes
            ],
            "cells": [digest.summary.totals.cells for digest in oldest_first],
        },
    )
