"""Run the commands that judge all series: what changed, and which bands history proposes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report.text import count
from harness.store.baselines import BASELINES, read_baselines, write_baselines

if TYPE_CHECKING:
    from harness.store.index import Index
    from harness.trends.trend import Trend

ORDER = ("regressed", "suspect", "improved", "unchanged")


def show_trends(options: argparse.Namespace) -> int:
    """Print what changed, the worst first; the exit status is 1 where anything regressed."""
    from harness.store.index import open_index

    reports = Path(options.reports)
    with open_index(reports) as index:
        trends = list(_judge(index, reports, options.cell))
    told = [trend for trend in trends if trend.state != "unchanged"]
    told.sort(key=lambda trend: (ORDER.index(trend.state), trend.cell))
    if options.format == "json":
        print(json.dumps([asdict(trend) for trend in told], indent=2, ensure_ascii=False))
    else:
        for trend in told:
            print("\n".join(describe_trend(trend)))
        quiet = sum(trend.changed for trend in trends if trend.state == "unchanged")
        print(
            f"{count(len(trends), 'series', 'series')} judged: "
            + ", ".join(f"{sum(t.state == state for t in trends)} {state}" for state in ORDER)
            + (f"; {quiet} of them differ by too little to matter" if quiet else "")
        )
    return int(any(trend.state == "regressed" for trend in told))


def describe_trend(trend: Trend) -> list[str]:
    """Return what is known of a change: its evidence, its causes, and how to run both sides."""
    lines = [f"{trend.state}: {trend.cell} {trend.measure}", f"  {trend.evidence}"]
    if trend.since is not None:
        lines.append(f"  between runs {trend.since.run_before} and {trend.since.run_after}")
    if trend.blame is not None:
        lines += [f"  changed: {cause.text}" for cause in trend.blame.causes]
        lines += [f"  old side: {trend.blame.rerun_old}", f"  new side: {trend.blame.rerun_new}"]
    return lines


def update_baselines(options: argparse.Namespace) -> int:
    """Propose the bands that history has to say, print what would change, and write them."""
    from harness.store.index import open_index
    from harness.trends.bands import describe_proposal, propose
    from harness.trends.gather import JUDGED, RUNS_JUDGED, make_confirmations

    reports = Path(options.reports)
    path = reports / BASELINES
    old = read_baselines(path)
    with open_index(reports) as index:
        index.run(None)  # A folder without runs is a mistake, not an empty proposal.
        chosen = [
            series
            for series in index.all_series(JUDGED, last=RUNS_JUDGED)
            if fnmatchcase(series.cell, options.cell)
        ]
        reruns = [
            one for cell, rows in index.reruns().items() for one in make_confirmations(cell, rows)
        ]
    new = propose(chosen, old, confirmations=reruns)
    lines = describe_proposal(old, new)
    print("\n".join(lines or ["nothing would change"]))
    if lines and not options.dry_run:
        write_baselines(path, new)
        print(f"{count(len(lines), 'change')} written to {path}; review it and commit it")
    return 0


def _judge(index: Index, reports: Path, pattern: str) -> Iterator[Trend]:
    from harness.trends.gather import judge_all, with_blame

    index.run(None)
    accepted: Mapping[tuple[str, str], Any] = read_baselines(reports / BASELINES)
    places = {key: band.since for key, band in accepted.items()}
    for series, trend in judge_all(index, places):
        if fnmatchcase(series.cell, pattern):
            yield with_blame(index, series, trend)
