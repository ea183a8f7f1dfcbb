"""Define the rows of the index: runs, cells, and how a cell did in a run; and make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from harness.store.record import End, Head, Record, Resumed, State, Timing, state_of
from harness.store.series import Kind
from ml.core.contracts import Outcome

# What a request says of the machine it runs on and of places there, not of the training.
ELSEWHERE = ("id", "data", "runtime", "artifact_dir", "checkpoint", "schema_version")
# What says how much is trained and how often, and not what; of a sweep, all but its space.
SCALE = ("budget", "replicates")
NO_SCALE = ("space", "journal")
# A measure's column, and its kind; a metric's direction stands in its rows.
MEASURES: dict[str, tuple[str, Kind]] = {
    "score": ("value", "metric"),
    "fit": ("fit", "timing"),
    "predict": ("predict", "timing"),
    "prepare": ("prepare", "timing"),
    "load": ("load", "timing"),
    "seconds": ("seconds", "timing"),
    "rows_per_second": ("rows_per_second", "timing"),
    "peak_memory": ("peak_memory", "memory"),
    "artifact_bytes": ("artifact_bytes", "memory"),
}
GREATER = ("rows_per_second",)


@dataclass(frozen=True)
class RunRow:
    """Hold what a run's journal says of the run; ``kind`` is ``matrix`` or ``benchmark``.

    ``environment`` is a short hash of ``parts``: hardware, platform, threads, packages, by name.
    ``exit_status`` and ``finished`` are None where the last session was cut off; ``seconds`` are
    those of all its sessions that ended. ``resumed`` has the time and the commit of each
    session after the first, ``damage`` a sentence for each line that could not be read.
    """

    name: str
    kind: str
    started: str | None
    commit: str | None
    branch: str | None
    dirty: bool | None
    command: tuple[str, ...]
    environment: str
    parts: Mapping[str, str]
    exit_status: int | None
    finished: str | None
    seconds: float | None
    resumed: tuple[tuple[str, str | None], ...]
    damage: tuple[str, ...]


@dataclass(frozen=True)
class Sketch:
    """Hold a run without its records; ``failing`` has the cell of each line of a failed test."""

    name: str
    head: Head | None
    end: End | None
    resumed: int
    failing: tuple[str | None, ...]


@dataclass(frozen=True)
class CellRow:
    """Hold the names of a cell; those of a benchmark has only the cell's."""

    cell: str
    dataset: str | None
    algorithm: str | None
    framework: str | None
    mode: str | None
    task: str | None


class Brief(NamedTuple):
    """Hold of a cell's result in a run what a list of cells shows; the names are the columns'."""

    cell: str
    dataset: str | None
    algorithm: str | None
    framework: str | None
    mode: str | None
    task: str | None
    state: State
    outcome: Outcome
    reason: str
    reused: str | None
    metric: str | None
    greater_is_better: int | None
    value: float | None
    spread: float | None
    fit: float | None
    seconds: float
    peak_memory: int | None
    replicates: str | None


@dataclass(frozen=True)
class RerunRow:
    """Hold one value of a suspect cell's measure, taken again when the run's tests had ended."""

    run: str
    measure: str
    value: float
    calibration: float | None


@dataclass(frozen=True)
class ResultRow:
    """Hold how a cell did in a run, in short; ``start`` and ``size`` are its line's place.

    ``timed`` says that times and memory are this run's own and whole: not those of a reused
    record, nor of a training or a search that went on from where it was killed, nor of a search
    that the clock ended, whose winner is another one each time. ``cut`` says that the clock
    stopped a replicate or the search, so that the score would not come again. Times are seconds
    over all replicates. ``commit`` is that of the session that ran the cell. ``data`` and
    ``entry`` are short hashes of the table's content and of what was asked, ``scale`` of how
    much: the budget, the number of replicates, and a sweep's limits and ways. ``distillation``
    has what the record says of teachers and student, None for another mode.
    """

    start: int
    size: int
    state: State
    outcome: Outcome
    reason: str
    started: str
    seconds: float
    key: str | None
    reused: str | None
    timed: bool
    cut: bool
    commit: str | None
    attempts: int
    metric: str | None
    greater_is_better: bool | None
    value: float | None
    baseline: float | None
    improvement: float | None
    spread: float | None
    replicates: tuple[float, ...]
    splits: tuple[str, ...]
    fit: float | None
    predict: float | None
    prepare: float | None
    load: float | None
    rows_per_second: float | None
    peak_memory: int | None
    artifact_bytes: int | None
    calibration: float | None
    data: str
    entry: str
    scale: str
    device: str | None
    distillation: Mapping[str, Any] | None


COLUMNS = tuple(field.name for field in fields(ResultRow))


def row_of_record(
    record: Record, start: int, size: int, head: Head | None, sessions: Sequence[Resumed]
) -> ResultRow:
    """Return the row of a record that stands at a place of its run's journal."""
    score, result = record.score, record.result
    replicates = result.replicates if result else ()
    metric = score.metric if score else ""
    whole = all(metric in replicate.metrics for replicate in replicates)
    timings = result.timings if result else None
    return ResultRow(
        start=start,
        size=size,
        state=state_of(record),
        outcome=record.outcome,
        reason=record.reason,
        started=record.started,
        seconds=record.seconds,
        key=record.key,
        reused=record.reused,
        cut=record.cut,
        timed=_is_timed(record),
        commit=_commit_of(record, head, sessions),
        attempts=len(record.attempts) + 1,
        metric=score.metric if score else None,
        greater_is_better=score.greater_is_better if score else None,
        value=score.value if score else None,
        baseline=score.baseline if score else None,
        improvement=score.improvement if score else None,
        spread=score.spread if score else None,
        replicates=tuple(one.metrics[metric] for one in replicates) if whole and score else (),
        splits=tuple(one.split_sha256[:16] for one in replicates) if whole and score else (),
        fit=timings.fit if timings else None,
        predict=timings.predict if timings else None,
        prepare=timings.prepare if timings else None,
        load=timings.load if timings else None,
        rows_per_second=result.rows_per_second if result else None,
        peak_memory=result.peak_memory_bytes if result else None,
        artifact_bytes=result.artifact_bytes if result else None,
        calibration=result.calibration_seconds if result else None,
        data=result.data.content_sha256[:16] if result else "",
        entry=hash_entry(record.request),
        scale=_hash_scale(record.request),
        device=result.device if result else None,
        distillation=_distillation(record),
    )


def row_of_timing(timing: Timing, start: int, size: int, head: Head | None) -> ResultRow:
    """Return the row of a benchmark's line; it has seconds alone."""
    empty = dict.fromkeys(COLUMNS)
    values: dict[str, Any] = {
        **empty,
        "start": start,
        "size": size,
        "state": "passed",
        "outcome": "ok",
        "reason": "",
        "started": timing.started,
        "seconds": timing.seconds,
        "timed": True,
        "cut": False,
        "commit": head.git_commit if head else None,
        "attempts": 1,
        "replicates": (),
        "splits": (),
        "calibration": timing.calibration_seconds,
        "data": "",
        "entry": _hash({"name": timing.name, "parameters": timing.parameters}),
        "scale": "",
    }
    return ResultRow(**values)


def environment_of(head: Head) -> dict[str, str]:
    """Return the parts of the environment that numbers and times depend on, by name."""
    runtime = head.runtime.model_dump() if head.runtime else {}
    return {
        "cpu": head.cpu,
        "cores": str(head.cores),
        # The kernel keeps some megabytes for itself, another number with each version.
        "memory": f"{head.memory_bytes / 2**30:.0f} GiB",
        "platform": head.platform,
        "python": head.python,
        "threads": str(head.threads_per_worker),
        **{name: str(runtime[name]) for name in runtime if name != "threads"},
        "executor": head.executor,
        **{f"cluster {name}": f"{head.cluster[name]:g}" for name in sorted(head.cluster)},
        **{f"package {name}": head.packages[name] for name in sorted(head.packages)},
    }


def hash_entry(request: Mapping[str, Any]) -> str:
    """Return the short hash of what a request asks for, whatever the place it is made for."""
    return _hash({name: value for name, value in request.items() if name not in ELSEWHERE})


def hash_environment(parts: Mapping[str, str]) -> str:
    """Return the short hash of an environment's parts, empty where none is known."""
    return _hash(dict(parts))[:12] if parts else ""


def _commit_of(record: Record, head: Head | None, sessions: Sequence[Resumed]) -> str | None:
    # A resumed session writes earlier records again as its gates judge them.
    ran = [one.git_commit for one in sessions if one.started <= record.started]
    return ran[-1] if ran else head.git_commit if head else None


def _is_timed(record: Record) -> bool:
    result = record.result
    if record.reused is not None or result is None:
        return record.reused is None
    if result.sweep is not None and (result.sweep.resumed_trials or record.cut):
        return False
    return not any(one.resumed_epochs for one in result.replicates)


def _hash_scale(request: Mapping[str, Any]) -> str:
    parts = [request.get(name) for name in SCALE]
    if request.get("sweep"):
        parts.append({k: v for k, v in request["sweep"].items() if k not in NO_SCALE})
    return _hash(parts)


def _distillation(record: Record) -> dict[str, Any] | None:
    if record.mode != "distill":
        return None
    facts: dict[str, Any] = {
        name: record.request.get(name) for name in ("teachers", "temperature", "soft_share")
    }
    info = record.result.distillation if record.result else None
    return facts | (info.model_dump(mode="json") if info else {})


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
