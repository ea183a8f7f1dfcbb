"""Arrange a run's records as heatmaps: one per framework, dataset × algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.text import OUTCOMES, write_number, write_seconds
from harness.store.record import Record, Score
from harness.store.record import State as State
from harness.store.record import state_of as state_of
from ml.core.contracts import Task

STEPS = 9
TASKS: tuple[Task, ...] = ("classification", "regression", "forecasting")
SYMBOLS: dict[State, str] = {"failed": "✕", "expected": "△", "unavailable": "○", "passed": "✓"}


@dataclass(frozen=True)
class Square:
    """Hold one cell of a heatmap; ``step`` is its place on the ramp, None where it has none."""

    anchor: str
    state: State
    symbol: str
    value: str
    note: str
    step: int | None
    title: str


@dataclass(frozen=True)
class HeatmapRow:
    """Hold one dataset's squares, in the order of the heatmap's columns; None is no cell."""

    dataset: str
    metric: str
    squares: tuple[Square | None, ...]


@dataclass(frozen=True)
class Heatmap:
    """Hold one framework's heatmap, its rows parted by task; tuned models have their columns."""

    framework: str
    columns: tuple[str, ...]
    groups: tuple[tuple[Task, tuple[HeatmapRow, ...]], ...]
    has_sweeps: bool


def skill(score: Score) -> float | None:
    """Return the share of the way from the baseline (0) to perfect (1); below 0 is worse.

    An error is perfect at 0, so its skill is 1 − value / baseline; a metric that is better
    when greater is perfect at 1, so its skill is (value − baseline) / (1 − baseline). None
    where the baseline is perfect itself.
    """
    if score.greater_is_better:
        room = 1.0 - score.baseline
        return (score.value - score.baseline) / room if room > 0 else None
    return 1.0 - score.value / score.baseline if score.baseline > 0 else None


def ramp_step(share: float) -> int:
    """Return a skill's step on the ramp, 0 to ``STEPS`` − 1; skill beyond [0, 1] is clamped."""
    return int(min(max(share, 0.0), 1.0) * STEPS * (1 - 1e-9))


def build_heatmaps(records: Sequence[Record], anchors: Mapping[str, str]) -> tuple[Heatmap, ...]:
    """Return one heatmap per framework of the records, each with the datasets that it ran.

    ``anchors`` maps a cell's id to its row's fragment. Columns are algorithms in the order in
    which they ran; another mode than train makes a column of its own.
    """
    frameworks = dict.fromkeys(record.framework for record in records)
    return tuple(
        _build_heatmap(name, [r for r in records if r.framework == name], anchors)
        for name in frameworks
    )


def _build_heatmap(
    framework: str, records: Sequence[Record], anchors: Mapping[str, str]
) -> Heatmap:
    columns = tuple(dict.fromkeys(_column(record) for record in records))
    groups = []
    for task in TASKS:
        datasets: dict[str, list[Record]] = {}
        for record in records:
            if record.task == task:
                datasets.setdefault(record.dataset, []).append(record)
        if datasets:
            rows = tuple(
                _build_row(name, datasets[name], columns, anchors) for name in sorted(datasets)
            )
            groups.append((task, rows))
    has_sweeps = any(record.mode == "sweep" for record in records)
    return Heatmap(framework, columns, tuple(groups), has_sweeps)


def _build_row(
    dataset: str, records: Sequence[Record], columns: Sequence[str], anchors: Mapping[str, str]
) -> HeatmapRow:
    found = {_column(record): _build_square(record, anchors[record.cell]) for record in records}
    metrics = {
        f"{record.score.metric} {'↑' if record.score.greater_is_better else '↓'}": None
        for record in records
        if record.score is not None
    }
    return HeatmapRow(dataset, ", ".join(metrics), tuple(found.get(name) for name in columns))


def _build_square(record: Record, anchor: str) -> Square:
    state = state_of(record)
    share = skill(record.score) if record.score is not None else None
    if record.outcome != "ok":
        note = OUTCOMES[record.outcome]
    else:
        note = {"failed": "gate", "expected": "declared"}.get(state, "")
    return Square(
        anchor=anchor,
        state=state,
        symbol=SYMBOLS[state] if state != "passed" else "",
        value=write_number(record.score.value) if record.score is not None else "",
        note=note,
        step=ramp_step(share) if share is not None and state == "passed" else None,
        title=_describe(record, share),
    )


def _describe(record: Record, share: float | None) -> str:
    parts = [record.cell]
    if record.score is not None:
        score = record.score
        parts.append(
            f"{score.metric} {write_number(score.value, 4)}, "
            f"baseline {write_number(score.baseline, 4)}"
        )
        parts.append(
            f"improvement {write_number(score.improvement)} ± {write_number(score.spread, 2)}"
            + ("" if share is None else f", skill {share:.0%}")
        )
    if record.outcome != "ok":
        parts.append(f"{OUTCOMES[record.outcome]}: {record.reason}")
    parts += [
        f"{v.gate} fails: {v.text}" for v in record.verdicts if v.breaks and v.gate != "outcome"
    ]
    parts += [
        f"{v.gate} fails as declared: {v.expected}"
        for v in record.verdicts
        if v.status == "fail" and v.expected is not None
    ]
    parts.append(write_seconds(record.seconds))
    return "\n".join(parts)


def _column(record: Record) -> str:
    return record.algorithm if record.mode == "train" else f"{record.algorithm} · {record.mode}"
