"""Show what the analysis of diversity says of healthy and of damaged tables."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from damage import KINDS, Others, damage

from ml.core.seeding import stream
from ml.health.diversity import measure_diversity
from ml.health.diversity_report import Diversity

ROWS = 2000
LEAST = 1000
# Healthy pairs for one damaged one.
HEALTHY = 5
JOINT = ("effective rank", "coverage", "duplicates", "near-duplicates", "rare levels kept")


def show_diversity(bench: Any, frames: dict[str, Any]) -> None:
    """Print, per kind of severe damage, the median of each measure, and patterns found lost."""
    print("\n## Diversity: the candidate's measure beside the reference's, medians\n")
    print("| tables | pairs | effective values, least of a column |", " | ".join(JOINT), end=" ")
    print("| with a lost pattern, % |")
    print("|---|---|---|" + "---|" * (len(JOINT) + 1))
    seconds: list[float] = []
    for kind in ("healthy", *KINDS):
        found = []
        for name, (frame, _) in frames.items():
            if len(frame) < 2 * LEAST:
                continue
            for number in range(bench.options.repeats * (HEALTHY if kind == "healthy" else 1)):
                pair = _pair(frame, kind, stream(bench.options.seed, "diversity", name, number))
                if pair is not None:
                    started = time.process_time()
                    found.append(measure_diversity(*pair, seed=number))
                    seconds.append(time.process_time() - started)
        lost = float(np.mean([bool(each.lost) for each in found]))
        columns = [_least(found), *(_median(found, name) for name in JOINT)]
        print(f"| {kind} | {len(found)} |", " | ".join(columns), f"| {100 * lost:.1f} |")
        if kind == "healthy":
            bench.judge(lost <= 0.1, "healthy pairs with a lost pattern: 10 % at most")
    print(f"\nprocessor time: median {np.median(seconds):.2f} s,", end=" ")
    print(f"99th percentile {np.quantile(seconds, 0.99):.2f} s")


def _pair(frame: Any, kind: str, draw: np.random.Generator) -> tuple[Any, Any] | None:
    order = draw.permutation(len(frame))
    side = min(ROWS, len(frame) // 2)
    parts = (order[:side], order[side : 2 * side], order[2 * side : 2 * side + 4 * ROWS])
    first, second, rest = (frame.iloc[part] for part in parts)
    if kind == "healthy":
        return first, second
    damaged = damage(kind, "severe", second, Others(first, rest), draw)
    return None if damaged is None else (first, damaged.frame)


def _least(found: list[Diversity]) -> str:
    """Return the median, over tables, of the share of effective values left where it is least."""
    least = [
        min(m.candidate / m.reference for m in each.measures if m.name == "effective values")
        for each in found
    ]
    return f"{np.median(least):.2f} of 1"


def _median(found: list[Diversity], name: str) -> str:
    pairs = [(m.reference, m.candidate) for each in found for m in each.measures if m.name == name]
    one, two = np.median(pairs, axis=0) if pairs else (np.nan, np.nan)
    return f"{two:.3g} of {one:.3g}"
