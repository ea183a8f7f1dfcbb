"""Gather the comparisons of a run's frameworks: each one by itself, and per pair the worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from harness.store.record import RUNGS, Comparison, Record, Rung, RungName
from ml.core.contracts import Framework

FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)


@dataclass(frozen=True)
class Compared:
    """Hold one comparison beside the record that has it; ``expected`` is a declared reason."""

    record: Record
    comparison: Comparison
    expected: str | None

    @property
    def state(self) -> Literal["passed", "expected", "failed"]:
        """Tell whether the frameworks agree, differ as declared, or differ."""
        if self.comparison.passes:
            return "passed"
        return "failed" if self.expected is None else "expected"

    @property
    def place(self) -> tuple[int, ...]:
        """Return where the pair stands among all pairs, in the order of the frameworks."""
        return tuple(map(FRAMEWORKS.index, self.comparison.frameworks))

    @property
    def cells(self) -> tuple[str, str]:
        """Return the two cells, in the order of their frameworks."""
        cell, other = self.record.cell, self.comparison.other
        first = self.comparison.frameworks[0] == self.record.framework
        return (cell, other) if first else (other, cell)

    def find(self, name: RungName) -> Rung | None:
        """Return a rung by its name, None where the trainings were too short for it."""
        return next((rung for rung in self.comparison.rungs if rung.name == name), None)


@dataclass(frozen=True)
class Worst:
    """Hold the worst rung of its name, and the comparison that it is from."""

    rung: Rung
    compared: Compared

    @property
    def state(self) -> Literal["passed", "expected", "failed"]:
        """Tell whether the frameworks agree at this rung, differ as declared, or differ."""
        return "passed" if self.rung.passes else self.compared.state


@dataclass(frozen=True)
class PairRow:
    """Sum up a pair of frameworks: cells compared, and the worst at each rung of ``RUNGS``."""

    frameworks: tuple[Framework, Framework]
    cells: int
    failed: int
    expected: int
    worst: tuple[Worst | None, ...]


def list_comparisons(records: Iterable[Record]) -> list[Compared]:
    """Return all comparisons of a run, the worst first: failed, failed as declared, passed."""
    found = []
    for record in records:
        declared = {v.gate: v.expected for v in record.verdicts if v.status == "fail"}
        found += [
            Compared(record, comparison, declared.get("in_parity"))
            for comparison in record.comparisons
        ]
    return sorted(found, key=_badness, reverse=True)


def sum_up_pairs(compared: Sequence[Compared]) -> list[PairRow]:
    """Return a row per pair of frameworks, in the order of the frameworks."""
    pairs: dict[tuple[Framework, Framework], list[Compared]] = {}
    for one in compared:
        pairs.setdefault(one.comparison.frameworks, []).append(one)
    return [
        PairRow(
            frameworks=pair,
            cells=len(found),
            failed=sum(one.state == "failed" for one in found),
            expected=sum(one.state == "expected" for one in found),
            worst=tuple(_find_worst(name, found) for name in RUNGS),
        )
        for pair, found in sorted(pairs.items(), key=lambda entry: entry[1][0].place)
    ]


def _find_worst(name: RungName, compared: Sequence[Compared]) -> Worst | None:
    found = [Worst(rung, one) for one in compared if (rung := one.find(name)) is not None]
    states = ("passed", "expected", "failed")
    # Limits differ between metrics, so that the largest difference need not be the one beyond.
    return max(
        found,
        key=lambda worst: (states.index(worst.state), _size(worst.rung.difference)),
        default=None,
    )


def _badness(one: Compared) -> tuple[int, float]:
    measured = [rung for rung in one.comparison.rungs if rung.limit > 0 or not rung.passes]
    shares = [_size(r.difference) / r.limit if r.limit else math.inf for r in measured]
    return ("passed", "expected", "failed").index(one.state), max(shares, default=0.0)


def _size(difference: float | None) -> float:
    return math.inf if difference is None else difference
