"""Show who finds a change in synthetic nights, and who cries wolf.

``python benchmarks/trend_truth.py`` prints one table. Every column holds series of one kind
(spread 3 %, a change after night 50), every row one way to judge them. Figures are percents of
series. Ours is judged every night, as in life, by ``judge_series``: suspect nights get reruns, two
at a time, each a fresh draw at the night's true mean, until they are confirmed or cleared.
``ever`` counts a series that was told a regression or an improvement on any night, ``end`` one
that is so at its last. "No reruns" is ours where nothing is rerun and later nights decide. Peers
judge the whole series once, on its last night, which is milder: a team that looks every night
sees more of their false alarms. Otava flags a series by any change point, asv by any regression.

In columns marked "=" nothing changed, and every flag is false; the target is 1 % at most. In "AR,
reruns alike" the reruns share their night's own deviation, as if the machine were slow for as
long: what reruns of one side alone cannot see through. Where the old side is rerun beside the new
one ("old too"), or where the calibration takes the machine out, they can. A slow drift of 0.2 % a
night is a change, and told once it has added up. The last rows say what suspicion costs: the
share of nights that are rerun at all, and reruns of the cell per night.

Peers: ``pip install asv``, and ``pip install --no-deps apache-otava`` beside numpy and scipy.
Otava pins numpy 2.2, hence ``--no-deps``; what it computes with needs no more. The script needs
of this repository what ``harness.trends`` needs, so an environment of the peers' own will do.
``--seed``, ``--series``, ``--columns`` and ``--spread`` choose other nights, ``--rule`` another
rule.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.store.series import Point, Series
from harness.trends.judge import judge_series
from harness.trends.rule import Rule
from harness.trends.trend import Confirmation

SPREAD = 0.03
CHANGE = 50
BATCH = 2
LEAST = 0.05
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, nights: int) -> np.ndarray:
    """Draw independent normal deviations."""
    return SPREAD * rng.standard_normal(nights)


def heavy(rng: np.random.Generator, nights: int) -> np.ndarray:
    """Draw Student's t with three degrees of freedom, of the same standard deviation."""
    return SPREAD / math.sqrt(3) * rng.standard_t(3, nights)


def autocorrelated(rng: np.random.Generator, nights: int) -> np.ndarray:
    """Draw a stationary first-order autoregression of 0.5."""
    found = rng.standard_normal(nights)
    for night in range(1, nights):
        found[night] = 0.5 * found[night - 1] + math.sqrt(0.75) * found[night]
    return SPREAD * found


@dataclass(frozen=True)
class Column:
    """Hold a kind of series: its nights, the noise, a step, drift or spike, and its target."""

    name: str
    nights: int = 60
    draw: Draw = normal
    step: float = 0.0
    drift: float = 0.0
    spike: float = 0.0
    alike: bool = False
    old: bool = False
    target: float | None = None
    quiet: bool = False


COLUMNS = (
    Column("none=", quiet=True),
    Column("none 120=", nights=120, quiet=True),
    Column("t3=", draw=heavy, quiet=True),
    Column("spike=", spike=0.3, quiet=True),
    Column("AR=", draw=autocorrelated, quiet=True),
    Column("AR, reruns alike=", draw=autocorrelated, alike=True),
    Column("AR, alike, old too=", draw=autocorrelated, alike=True, old=True, quiet=True),
    Column("+10 % 1", nights=51, step=0.1),
    Column("+10 % 3", nights=53, step=0.1, target=95.0),
    Column("+10 % 10", nights=60, step=0.1),
    Column("+5 % 5", nights=55, step=0.05, target=95.0),
    Column("+5 % 10", nights=60, step=0.05),
    Column("drift 30", nights=80, drift=0.002),
    Column("drift 60", nights=110, drift=0.002),
)


@dataclass
class Made:
    """Hold one synthetic series: values, true means, and the generator of its reruns."""

    values: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    rng: np.random.Generator


def make(column: Column, seed: int, number: int) -> Made:
    """Make a series of a column; the same for the same seed and number."""
    rng = np.random.default_rng([seed, number, sum(column.name.encode())])
    after = np.maximum(np.arange(column.nights) - CHANGE + 1, 0)
    means = np.where(after > 0, 1.0 + column.step, 1.0) + column.drift * after
    deviations = column.draw(rng, column.nights)
    values = np.maximum(means * (1.0 + deviations), LEAST)
    values[-1] *= 1.0 + column.spike
    return Made(values, means, deviations, rng)


def rerun(column: Column, made: Made, night: int, mean: float) -> tuple[float, ...]:
    """Return the values of a batch of reruns at a mean, drawn afresh or alike their night."""
    if column.alike:
        fresh = made.deviations[night] + SPREAD / 3 * made.rng.standard_normal(BATCH)
    else:
        # A rerun remembers nothing: of an autoregression it is a draw of its marginal.
        draw = normal if column.draw is autocorrelated else column.draw
        fresh = draw(made.rng, BATCH)
    return tuple(float(value) for value in np.maximum(mean * (1.0 + fresh), LEAST))


@dataclass
class Tally:
    """Count what ours said of a column's series."""

    told_ever: int = 0
    told_end: int = 0
    suspect_ever: int = 0
    nights: int = 0
    suspect_nights: int = 0
    reruns: int = 0
    seconds: float = 0.0
    judged: int = 0
    nights_to_tell: list[int] = field(default_factory=list)


def judge_ours(column: Column, made: Made, tally: Tally, rule: Rule, reruns: bool) -> None:
    """Judge a series night by night, and rerun what is suspect."""
    points = tuple(
        Point(f"{night:05d}", "", None, False, "e", "d", "r", float(value))
        for night, value in enumerate(made.values)
    )
    series = Series("cell", "fit", "timing", False, points)
    confirmations: list[Confirmation] = []
    told = suspected = False
    state = "unchanged"
    for night in range(rule.minimum_history, column.nights):
        known = replace(series, points=points[: night + 1])
        start = time.process_time()
        state = judge_series(known, rule, confirmations).state
        tally.seconds += time.process_time() - start
        tally.judged += 1
        tally.nights += 1
        suspected |= state == "suspect"
        tally.suspect_nights += state == "suspect"
        values: tuple[float, ...] = ()
        old: tuple[float, ...] = ()
        while reruns and state == "suspect":
            values += rerun(column, made, night, float(made.means[night]))
            if column.old:
                old += rerun(column, made, night, 1.0)
            found = Confirmation(points[night].run, "cell", "fit", values, old=old)
            state = judge_series(known, rule, [*confirmations, found]).state
            if state != "suspect":
                confirmations.append(found)
        tally.reruns += len(values) + len(old)
        if state in ("regressed", "improved"):
            if not told:
                tally.nights_to_tell.append(night - CHANGE + 1)
            told = True
    tally.suspect_ever += suspected
    tally.told_ever += told
    tally.told_end += state in ("regressed", "improved")


def flag_previous(values: np.ndarray) -> bool:
    """Flag a last night above 110 % of the one before."""
    return bool(values[-1] > 1.1 * values[-2])


def load_peers() -> dict[str, Callable[[np.ndarray], bool]]:
    """Return what is installed of the peers; say how to install the rest."""
    found: dict[str, Callable[[np.ndarray], bool]] = {}
    try:
        from otava.analysis import compute_change_points

        found["Otava, default"] = lambda values: bool(compute_change_points(values.tolist())[0])
    except ImportError as problem:
        print(f"without Otava ({problem}): pip install --no-deps apache-otava; pip install scipy")
    try:
        from asv.step_detect import detect_regressions, detect_steps

        def flag(values: np.ndarray) -> bool:
            # asv publishes regressions above 5 % unless told otherwise.
            steps = detect_steps(values.tolist())
            return bool(detect_regressions(steps, threshold=0.05)[2])

        found["asv"] = flag
    except ImportError as problem:
        print(f"without asv ({problem}): pip install asv")
    found["previous run > 110 %"] = flag_previous
    return found


def main() -> int:
    """Print the table; exit with 1 if a target is missed."""
    global SPREAD
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--columns", default="", help="parts of names, separated by commas")
    parser.add_argument("--without-alone", action="store_true", help="leave out 'no reruns'")
    parser.add_argument("--spread", type=float, default=SPREAD, help="of single nights")
    parser.add_argument("--rule", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    SPREAD = options.spread
    parts = options.columns.split(",")
    columns = [c for c in COLUMNS if any(part in c.name for part in parts)]
    peers = load_peers()
    changes = dict(each.split("=") for each in options.rule)
    rule = replace(Rule(), **{name: float(value) for name, value in changes.items()})
    tallies = {column.name: Tally() for column in columns}
    alone = {column.name: Tally() for column in columns}
    flags = {name: dict.fromkeys(tallies, 0) for name in peers}
    for column in columns:
        for number in range(options.series):
            made = make(column, options.seed, number)
            for name, flagged in peers.items():
                flags[name][column.name] += flagged(made.values)
            judge_ours(column, made, tallies[column.name], rule, reruns=True)
            if not options.without_alone:
                judge_ours(column, made, alone[column.name], rule, reruns=False)
    return show(options, columns, tallies, alone, flags)


def show(
    options: argparse.Namespace,
    columns: list[Column],
    tallies: dict[str, Tally],
    alone: dict[str, Tally],
    flags: dict[str, dict[str, int]],
) -> int:
    """Print the table and every target that is missed."""
    share = 100 / options.series
    rows: dict[str, list[str]] = {
        "ours, told, ever": [f"{t.told_ever * share:.1f}" for t in tallies.values()],
        "ours, told at the end": [f"{t.told_end * share:.1f}" for t in tallies.values()],
        "ours, suspect only, ever": [f"{t.suspect_ever * share:.1f}" for t in tallies.values()],
    }
    if not options.without_alone:
        rows["ours, no reruns, ever"] = [f"{t.told_ever * share:.1f}" for t in alone.values()]
    for name, found in flags.items():
        rows[name] = [f"{count * share:.1f}" for count in found.values()]
    rows["suspect nights, %"] = [
        f"{100 * t.suspect_nights / t.nights:.1f}" for t in tallies.values()
    ]
    rows["reruns a night"] = [f"{t.reruns / t.nights:.2f}" for t in tallies.values()]
    rows["target"] = [
        "≤ 1" if c.quiet else f"≥ {c.target:.0f}" if c.target else "" for c in columns
    ]
    print(f"{options.series} series a column, seed {options.seed}; % flagged\n")
    print("| | " + " | ".join(column.name for column in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    judged = sum(t.judged for t in tallies.values())
    seconds = sum(t.seconds for t in tallies.values())
    print(f"\n{judged:,} judgements, {1000 * seconds / judged:.2f} ms each (processor time)")
    missed = 0
    for column in columns:
        tally = tallies[column.name]
        told = tally.told_ever * share
        if (column.quiet and told > 1.0) or (
            column.target and tally.told_end * share < column.target
        ):
            print(f"missed: {column.name}")
            missed = 1
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
