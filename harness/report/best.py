"""Put the best cells of a dataset's frameworks side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.report.text import NOTHING, OUTCOMES, write_bytes, write_number, write_seconds
from harness.store.compare import ROUNDING
from harness.store.record import Record, Score
from ml.core.contracts import GREATER_IS_BETTER, Framework, TrainResult

FRAMEWORKS: tuple[Framework, ...] = ("pytorch", "tensorflow", "jax", "sklearn")
TITLES: dict[Framework, str] = {
    "pytorch": "PyTorch",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "sklearn": "scikit-learn",
}


@dataclass(frozen=True)
class Best:
    """Hold the best cells of the frameworks side by side, in the order of ``frameworks``.

    ``facts`` have one text per framework and the place of the best of them, None where nothing
    is better; a framework without a result has its reason in ``missing``.
    """

    frameworks: tuple[str, ...]
    cells: tuple[str, ...]
    algorithms: tuple[str, ...]
    facts: tuple[tuple[str, tuple[str, ...], int | None], ...]
    missing: tuple[tuple[str, str], ...]
    verdict: str


def compare_best(records: Sequence[Record]) -> Best | None:
    """Put the frameworks' best cells side by side, by the cell's metric; None where none has any.

    The best of PyTorch and that of TensorFlow are also compared in words, replicate by replicate
    where they had the same splits.
    """
    best, missing = choose_best(records)
    if not best:
        return None
    chosen = list(best.values())
    return Best(
        frameworks=tuple(TITLES[name] for name in best),
        cells=tuple(record.cell for record in chosen),
        algorithms=tuple(
            record.algorithm + ("" if record.mode == "train" else f" · {record.mode}")
            for record in chosen
        ),
        facts=tuple(_list_facts(chosen)),
        missing=missing,
        verdict=compare_two(best.get("pytorch"), best.get("tensorflow")),
    )


def _list_facts(records: Sequence[Record]) -> list[tuple[str, tuple[str, ...], int | None]]:
    scores = [record.score for record in records if record.score is not None]
    results = [record.result for record in records]
    metric = scores[0].metric
    values: list[float | None] = [score.value for score in scores]
    texts = [
        f"{write_number(score.value, 4)} ± {write_number(score.spread, 2)}" for score in scores
    ]
    facts = [(metric, tuple(texts), place_best(values, scores[0].greater_is_better))]
    facts.append((f"baseline's {metric}", tuple(write_number(s.baseline, 4) for s in scores), None))
    replicates = [one for result in results if result for one in result.replicates]
    others = dict.fromkeys(name for one in replicates for name in one.metrics if name != metric)
    rows: list[tuple[str, list[float | None], Callable[[float | None], str], bool | None]] = [
        (
            name,
            [_mean_metric(result, name) for result in results],
            lambda value: write_number(value, 4),
            GREATER_IS_BETTER.get(name),
        )
        for name in others
    ]
    rows += [
        ("fit", [mean_fit(result) for result in results], write_seconds, False),
        ("peak memory", [r.peak_memory_bytes if r else None for r in results], write_bytes, False),
        ("artifact", [r.artifact_bytes if r else None for r in results], write_bytes, False),
        ("parameters", [r.parameters if r else None for r in results], _write_count, None),
    ]
    for name, found, write, greater in rows:
        place = None if greater is None else place_best(found, greater)
        facts.append((name, tuple(map(write, found)), place))
    return facts


def _write_count(value: float | None) -> str:
    return f"{value:,.0f}" if value else NOTHING


def _mean_metric(result: TrainResult | None, name: str) -> float | None:
    values = (
        [one.metrics[name] for one in result.replicates if name in one.metrics] if result else []
    )
    return statistics.fmean(values) if values else None


def place_best(values: Sequence[float | None], greater: bool) -> int | None:
    """Return the place of the best value; None where there is no second, or it is as good.

    As good is what differs by rounding alone.
    """
    known = sorted((value for value in values if value is not None), reverse=greater)
    if len(known) < 2 or _is_alike(*known[:2]):
        return None
    return list(values).index(known[0])


def _is_alike(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=ROUNDING)


def compare_two(one: Record | None, two: Record | None) -> str:
    """Compare PyTorch's best with TensorFlow's in words; nothing where one of them is none."""
    if one is None or two is None or one.score is None or two.score is None:
        return ""
    names = f"PyTorch's best, {one.algorithm}, and TensorFlow's, {two.algorithm},"
    difference = _gain(one.score) - _gain(two.score)
    metric = one.score.metric
    if _is_alike(one.score.value, two.score.value):
        return f"{names} have the same {metric}."
    ahead = "PyTorch's" if difference > 0 else "TensorFlow's"
    text = f"{names} are {write_number(abs(difference))} apart in {metric}; {ahead} is better."
    paired = _pair(one, two)
    if len(paired) > 1:
        wins = sum(value * difference > 0 for value in paired)
        low, high = sorted(value * (1 if difference > 0 else -1) for value in paired)[
            :: len(paired) - 1
        ]
        text += (
            f" On the same splits it is so in {wins} of {len(paired)} replicates"
            f" (from {low:+.2g} to {high:+.2g})."
        )
    return text


def _pair(one: Record, two: Record) -> list[float]:
    if one.result is None or two.result is None or one.score is None:
        return []
    metric, sign = one.score.metric, 1 if one.score.greater_is_better else -1
    # All replicates of a sweep have one split; equal places have equal initial weights, too.
    others = {(r.split_sha256, r.index): r.metrics.get(metric) for r in two.result.replicates}
    return [
        sign * (r.metrics[metric] - other)
        for r in one.result.replicates
        if metric in r.metrics and (other := others.get((r.split_sha256, r.index))) is not None
    ]


def _gain(score: Score) -> float:
    return score.value if score.greater_is_better else -score.value


def sort_key(record: Record) -> tuple[bool, float, str]:
    """Return what puts the best score first, and cells without one last."""
    return (record.score is None, -_gain(record.score) if record.score else 0.0, record.cell)


def choose_best(
    records: Sequence[Record],
) -> tuple[dict[Framework, Record], tuple[tuple[str, str], ...]]:
    """Return each framework's best record, and the titles of those without one, with why."""
    best: dict[Framework, Record] = {}
    missing = []
    for name in FRAMEWORKS:
        own = [record for record in records if record.framework == name]
        found = find_best(own)
        if found is not None:
            best[name] = found
        elif own:
            missing.append((TITLES[name], own[0].reason or OUTCOMES[own[0].outcome]))
    return best, tuple(missing)


def find_best(records: Sequence[Record]) -> Record | None:
    """Return the record with the best score; None where none has a score."""
    scored = [record for record in records if record.outcome == "ok" and record.score is not None]
    return min(scored, key=sort_key, default=None)


def mean_fit(result: TrainResult | None) -> float | None:
    """Return the mean seconds of a fit over the replicates; None without a result."""
    fits = [replicate.timings.fit for replicate in result.replicates] if result else []
    return statistics.fmean(fits) if fits else None
