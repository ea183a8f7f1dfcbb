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
    from harness.store.series import Series
    from harness.trends.blame import Blame
    from harness.trends.trend import Trend

ORDER = ("regressed", "suspect", "improved", "unchanged")


def show_trends(options: argparse.Namespace) -> int:
    """Print what changed, the worst first; the exit status is 1 where anything regressed."""
    from harness.store.index import open_index
    from harness.trends.gather import explain_change

    reports = Path(options.reports)
    with open_index(reports) as index:
        judged = list(_judge(index, reports, options.cell))
        told = [(series, trend) for series, trend in judged if trend.state != "unchanged"]
        told.sort(key=lambda one: (ORDER.index(one[1].state), one[1].cell))
        blames = [explain_change(index, *one) for one in told]
    found = list(zip([trend for _, trend in told], blames, strict=True))
    if options.format == "json":
        values = [asdict(trend) | {"blame": asdict(b) if b else None} for trend, b in found]
        print(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        for trend, blame in found:
            print("\n".join(describe_trend(trend, blame)))
        quiet = sum(trend.changed for _, trend in judged if trend.state == "unchanged")
        print(
            f"{count(len(judged), 'series', 'series')} judged: "
            + ", ".join(f"{sum(t.state == state for _, t in judged)} {state}" for state in ORDER)
            + (f"; {quiet} of them differ by too little to matter" if quiet else "")
        )
    return int(any(trend.state == "regressed" for trend, _ in found))


def describe_trend(trend: Trend, blame: Blame | None) -> list[str]:
    """Return what is known of a change: its evidence, its causes, and how to run both sides."""
    lines = [f"{trend.state}: {trend.cell} {trend.measure}", f"  {trend.evidence}"]
    if trend.since is not None:
        lines.append(f"  between runs {trend.since.run_before} and {trend.since.run_after}")
    if blame is not None:
        lines += [f"  changed: {cause.text}" for cause in blame.causes]
        lines += [f"  old side: {blame.rerun_old}", f"  new side: {blame.rerun_new}"]
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


def _judge(index: Index, reports: Path, pattern: str) -> Iterator[tuple[Series, Trend]]:
    from harness.trends.gather import judge_all

    index.run(None)
    accepted: Mapping[tuple[str, str], Any] = read_baselines(reports / BASELINES)
    places = {key: band.since for key, band in accepted.items()}
    for series, trend in judge_all(index, places):
        if fnmatchcase(series.cell, pattern):
            yield series, trend
