"""Show how often the health check cries wolf, what damage it misses, and what it costs.

``python benchmarks/health.py`` prints one table a part: ``healthy`` pairs of tables, which are
random halves of real ones, and which nobody should call different; pairs parted by whole groups
of rows; ``damage`` of thirteen kinds in three severities, see ``benchmarks/damage.py``; the
damaged ``rows`` that are located; the ``signatures`` by which a kind of damage is told; what is
measured of ``diversity``; and the ``cost`` in rows a second, processor time and memory, each
measured in a process of its own. Real tables are those of ``benchmarks/tables.py``. Every part
has its targets, and the exit code is 1 where one is missed.

``--seed`` gives other pairs and other damage; ``--pairs`` is the number of healthy pairs a
dataset, ``--repeats`` of damaged ones a dataset, kind and severity; ``--quick`` is a look at a
few, without targets. ``--parts`` chooses parts by name.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from damage import KINDS, SEVERITIES, Others, damage
from diversity import show_diversity
from health_cost import show_cost
from health_rows import show_rows
from signatures import show_signatures
from tables import load_frames

from ml.core.seeding import stream
from ml.health.check import check

ALPHA = 0.02
ROWS = 2000
LEAST = 1000
PARTS = ("healthy", "groups", "damage", "rows", "signatures", "diversity", "cost")
Frames = dict[str, tuple[pd.DataFrame, np.ndarray | None]]


@dataclass
class Tally:
    """Count pairs, those that were flagged, and those of each verdict."""

    pairs: int = 0
    flagged: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)

    def add(self, verdict: str) -> None:
        """Count one pair's verdict."""
        self.pairs += 1
        self.flagged += verdict in ("differs", "collapsed")
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1

    def share(self, count: int | None = None) -> str:
        """Return a count, or those flagged, in percent of the pairs."""
        count = self.flagged if count is None else count
        return f"{100 * count / self.pairs:.1f}" if self.pairs else "–"


@dataclass
class Bench:
    """Hold the options, the targets that were missed, and the processor time of every check."""

    options: argparse.Namespace
    missed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def judge(self, met: bool, target: str) -> None:
        """Note a target that was missed; a quick look has none."""
        if not met and not self.options.quick:
            self.missed.append(target)

    def check(self, *args, **keywords):
        """Check, and note the processor time of tables of LEAST to ROWS rows a side."""
        started = time.process_time()
        report = check(*args, alpha=ALPHA, **keywords)
        if min(map(len, args)) >= LEAST:
            self.seconds.append(time.process_time() - started)
        return report


def halves(frame: pd.DataFrame, draw: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of two sides of equal size, and those left over."""
    order = draw.permutation(len(frame))
    side = min(ROWS, len(frame) // 2)
    return [order[:side], order[side : 2 * side], order[2 * side :]]


def show_healthy(bench: Bench, frames: Frames) -> list[Tally]:
    """Print the share of random halves of tables that are called different."""
    print("\n## Healthy pairs: random halves\n")
    print("| dataset | rows a side | pairs | flagged, % | too few rows to tell, % |")
    print("|---|---|---|---|---|")
    total, large = Tally(), Tally()
    for name, (frame, _) in frames.items():
        tally = Tally()
        for number in range(bench.options.pairs):
            draw = stream(bench.options.seed, "healthy", name, number)
            first, second, _ = halves(frame, draw)
            verdict = bench.check(frame.iloc[first], frame.iloc[second], seed=number).verdict
            for each in (tally, total, large) if len(first) >= LEAST else (tally, total):
                each.add(verdict)
        weak = tally.share(tally.verdicts.get("insufficient_power", 0))
        side = min(ROWS, len(frame) // 2)
        print(f"| {name} | {side} | {tally.pairs} | {tally.share()} | {weak} |", flush=True)
    print(f"| **all** | | {total.pairs} | **{total.share()}** | |")
    share = total.flagged / max(1, total.pairs)
    bench.judge(0.005 <= share <= 0.04, "healthy pairs flagged: 0.5 to 4 %")
    return [large]


def show_groups(bench: Bench, frames: Frames) -> None:
    """Print the share of tables parted by whole groups that are called different."""
    print("\n## Healthy pairs: whole groups on one side\n")
    print("| dataset | groups | pairs | by group: flagged, % | by row: flagged, % |")
    print("|---|---|---|---|---|")
    total, alone = Tally(), Tally()
    for name, (frame, groups) in frames.items():
        if groups is None:
            continue
        tally, rows = Tally(), Tally()
        for number in range(bench.options.pairs):
            draw = stream(bench.options.seed, "groups", name, number)
            names = draw.permutation(np.unique(groups))
            left = np.isin(groups, names[: len(names) // 2])
            table = frame.assign(belongs_to=groups)
            sides = [
                table.iloc[draw.permutation(np.flatnonzero(side))[:ROWS]] for side in (left, ~left)
            ]
            verdict = bench.check(*sides, group="belongs_to", seed=number).verdict
            for each in (tally, total):
                each.add(verdict)
            if number < max(5, bench.options.pairs // 4):
                plain = [side.drop(columns="belongs_to") for side in sides]
                verdict = bench.check(*plain, seed=number).verdict
                for each in (rows, alone):
                    each.add(verdict)
        print(
            f"| {name} | {len(names)} | {tally.pairs} | {tally.share()} | {rows.share()} |",
            flush=True,
        )
    print(f"| **all** | | {total.pairs} | **{total.share()}** | {alone.share()} |")
    share = total.flagged / max(1, total.pairs)
    bench.judge(share <= 0.07, "healthy pairs by group flagged: 7 % at most")


def show_damage(bench: Bench, frames: Frames, healthy: list[Tally]) -> None:
    """Print the share of damaged tables of LEAST rows a side that are called healthy."""
    tallies = {(kind, severity): Tally() for kind in KINDS for severity in SEVERITIES}
    used = {name: pair[0] for name, pair in frames.items() if len(pair[0]) >= 2 * LEAST}
    for name, frame in used.items():
        for (kind, severity), tally in tallies.items():
            for number in range(bench.options.repeats):
                draw = stream(bench.options.seed, "damage", name, kind, severity, number)
                first, second, rest = (frame.iloc[rows] for rows in halves(frame, draw))
                damaged = damage(kind, severity, second, Others(first, rest[: 4 * ROWS]), draw)
                if damaged is not None:
                    tally.add(bench.check(first, damaged.frame, seed=number).verdict)
    print(f"\n## Damage: {len(used)} datasets of {LEAST} rows a side or more\n")
    heads = " | ".join(f"{severity}: missed, % of pairs" for severity in SEVERITIES)
    print(f"| kind | {heads} | severe: called collapsed, % |")
    print("|---|" + "---|" * len(SEVERITIES) + "---|")
    for kind in KINDS:
        cells = []
        for severity in SEVERITIES:
            tally = tallies[kind, severity]
            cells.append(f"{tally.share(tally.pairs - tally.flagged)} of {tally.pairs}")
        cells.append(tally.share(tally.verdicts.get("collapsed", 0)))
        print(f"| {kind} | " + " | ".join(cells) + " |")
    gated = [tally for (_, severity), tally in tallies.items() if severity != "mild"]
    pairs = sum(tally.pairs for tally in gated)
    missed = pairs - sum(tally.flagged for tally in gated)
    wrong = missed + sum(tally.flagged for tally in healthy)
    all_pairs = pairs + sum(tally.pairs for tally in healthy)
    accuracy = 1 - wrong / max(1, all_pairs)
    print(
        f"\nmoderate and severe: missed {100 * missed / max(1, pairs):.2f} % of {pairs};", end=" "
    )
    print(f"accuracy, healthy ones of that size counted in: {100 * accuracy:.2f} % of {all_pairs}")
    bench.judge(missed <= 0.02 * pairs, "moderate and severe damage missed: 2 % at most")
    bench.judge(accuracy >= 0.97, "accuracy: 97 % at least")


def main() -> int:
    """Measure, print, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=25, help="healthy ones a dataset")
    parser.add_argument("--repeats", type=int, default=2, help="damaged ones a dataset and kind")
    parser.add_argument("--quick", action="store_true", help="two pairs, one repeat, no targets")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--folder", default="", help="for the large tables; else a temporary one")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.repeats = 2, 1
    # Synthesis of a damaged table warns of what it is there to show.
    warnings.simplefilter("ignore")
    bench, parts = Bench(options), options.parts.split(",")
    print(f"seed {options.seed}, alpha {ALPHA}")
    frames = load_frames() if set(parts) - {"cost"} else {}
    healthy = show_healthy(bench, frames) if "healthy" in parts else []
    if "groups" in parts:
        show_groups(bench, frames)
    if "damage" in parts:
        show_damage(bench, frames, healthy)
    if "rows" in parts:
        show_rows(bench, frames)
    if "signatures" in parts:
        show_signatures(bench, frames)
    if "diversity" in parts:
        show_diversity(bench, frames)
    if bench.seconds:
        # The first one imports what the others use.
        spent = np.quantile(bench.seconds[1:] or bench.seconds, [0.5, 0.99])
        print(
            f"\n{len(bench.seconds)} checks of {LEAST} to {ROWS} rows a side: processor time",
            end="",
        )
        print(f" median {spent[0]:.2f} s, 99th percentile {spent[1]:.2f} s")
        bench.judge(spent[1] < 1.0, "2k against 2k: under 1 s at the 99th percentile")
    if "cost" in parts:
        with tempfile.TemporaryDirectory(dir=options.folder or None) as folder:
            show_cost(bench, Path(folder))
    for target in bench.missed:
        print(f"missed: {target}")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
