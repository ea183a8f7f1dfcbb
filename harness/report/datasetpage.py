"""Build the pages of datasets: the list, and each dataset's table, cells and best models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.best import Best, compare_best, find_best, mean_fit, sort_key
from harness.report.cells import Number
from harness.report.columns import TableProfile, build_profile
from harness.report.contractview import ContractView, build_contract
from harness.report.files import name_file
from harness.report.heatmap import SYMBOLS, State, skill, state_of
from harness.report.profiles import Profiled
from harness.report.reference import Reference
from harness.report.text import (
    NOTHING,
    OUTCOMES,
    count,
    write_moment,
    write_number,
    write_seconds,
)
from harness.report.tuned import Swept, compare_sweeps
from harness.store.record import Record

FOLDER = "datasets"
CELL_NUMBERS = ("score", "baseline", "improvement ± spread", "skill", "fit")


@dataclass(frozen=True)
class DatasetLine:
    """Hold a dataset in the list of them; ``link`` leads from the reports' folder to its page."""

    name: str
    link: str
    title: str
    task: str
    metric: str
    numbers: tuple[Number, ...]
    best: str
    failed: int
    run: str


LINE_NUMBERS = ("rows", "columns", "cells", "failed", "best score", "skill")


@dataclass(frozen=True)
class DatasetCell:
    """Hold one cell of the dataset; ``numbers`` are in the order of ``CELL_NUMBERS``."""

    cell: str
    algorithm: str
    framework: str
    mode: str
    state: State
    symbol: str
    word: str
    reason: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class DatasetPage:
    """Hold everything that a dataset's page shows; ``reason`` says why there is no profile."""

    name: str
    task: str
    metric: str
    greater_is_better: bool
    run: str
    started: str
    passed_over: str
    summary: str
    profile: TableProfile | None
    reason: str
    contract: ContractView | None
    best: Best | None
    tuned: Best | None
    cells: tuple[DatasetCell, ...]
    lines: tuple[DatasetLine, ...]


@dataclass(frozen=True)
class DatasetsPage:
    """Hold the list of all datasets, and why a newer run is not the one that is shown."""

    lines: tuple[DatasetLine, ...]
    passed_over: str


def link_dataset(name: str) -> str:
    """Return the way from the reports' folder to a dataset's page."""
    return f"{FOLDER}/{name_file('dataset', name)}.html"


def build_datasets(
    references: Mapping[str, Reference],
    profiles: Mapping[str, Profiled],
    sweeps: Sequence[Swept] = (),
) -> tuple[DatasetsPage, tuple[DatasetPage, ...]]:
    """Build the list and a page per dataset, each from the run that is its reference.

    ``sweeps`` are the newest of each cell, in whichever run.
    """
    names = sorted(references)
    lines = tuple(_build_line(name, references[name], profiles[name]) for name in names)
    told = {_tell_passed_over(reference) for reference in references.values()} - {""}
    tuned: dict[str, list[Swept]] = {}
    for one in sweeps:
        tuned.setdefault(one.record.dataset, []).append(one)
    pages = tuple(
        _build_page(name, references[name], profiles[name], lines, tuned.get(name, ()))
        for name in names
    )
    return DatasetsPage(lines, min(told, default="")), pages


def _build_line(name: str, reference: Reference, profiled: Profiled) -> DatasetLine:
    records = reference.of_dataset(name)
    best = find_best(_list_default(records))
    profile = profiled.profile
    rows = columns = None
    title = ""
    if profile is not None:
        rows, columns, title = profile["rows"], len(profile["columns"]), profile["title"]
    elif best is not None and best.result is not None:
        rows = best.result.data.sample.rows_total
    failed = sum(state_of(record) == "failed" for record in records)
    share = skill(best.score) if best and best.score else None
    score = best.score if best else None
    return DatasetLine(
        name=name,
        link=link_dataset(name),
        title=title,
        task=records[0].task,
        metric=_write_metric(records),
        numbers=(
            Number(f"{rows:,}" if rows else NOTHING, rows),
            Number(f"{columns:,}" if columns else NOTHING, columns),
            Number(str(len(records)), len(records)),
            Number(str(failed), failed),
            Number(
                write_number(score.value, 4) if score else NOTHING, score.value if score else None
            ),
            Number(NOTHING if share is None else f"{share:.0%}", share),
        ),
        best=_name_model(best) if best else "",
        failed=failed,
        run=reference.run,
    )


def _build_page(
    name: str,
    reference: Reference,
    profiled: Profiled,
    lines: tuple[DatasetLine, ...],
    sweeps: Sequence[Swept],
) -> DatasetPage:
    records = reference.of_dataset(name)
    judged = next((record.score for record in records if record.score is not None), None)
    states = [state_of(record) for record in records]
    parts = [count(len(records), "cell")]
    parts += [
        f"{states.count(state)} {word}"
        for state, word in (
            ("passed", "passed"),
            ("failed", "failed"),
            ("expected", "failed as declared"),
            ("unavailable", "unavailable"),
        )
        if state in states
    ]
    return DatasetPage(
        name=name,
        task=records[0].task,
        metric=judged.metric if judged else "",
        greater_is_better=judged.greater_is_better if judged else True,
        run=reference.run,
        started=write_moment(reference.started),
        passed_over=_tell_passed_over(reference),
        summary=", ".join(parts),
        profile=build_profile(profiled.profile) if profiled.profile is not None else None,
        reason=profiled.reason,
        contract=build_contract(records),
        best=compare_best(_list_default(records)),
        tuned=compare_sweeps(sweeps),
        cells=tuple(_build_cell(record) for record in sorted(records, key=sort_key)),
        lines=lines,
    )


def _list_default(records: Sequence[Record]) -> list[Record]:
    # The best of many trials is not measured as a model is that was declared.
    return [record for record in records if record.mode != "sweep"]


def _tell_passed_over(reference: Reference) -> str:
    if not reference.passed_over:
        return ""
    if reference.passed_over == 1:
        return "A newer run has less than half as many cells, and is not shown here."
    runs = f"{reference.passed_over} newer runs"
    return f"{runs} have less than half as many cells, and are not shown here."


def _write_metric(records: Sequence[Record]) -> str:
    metrics = {
        f"{record.score.metric} {'↑' if record.score.greater_is_better else '↓'}"
        for record in records
        if record.score is not None
    }
    return ", ".join(sorted(metrics))


def _name_model(record: Record) -> str:
    mode = "" if record.mode == "train" else f" · {record.mode}"
    return f"{record.algorithm}{mode} ({record.framework})"


def _build_cell(record: Record) -> DatasetCell:
    state, score, result = state_of(record), record.score, record.result
    share = skill(score) if score else None
    improvement = NOTHING
    if score:
        sign = "+" if score.improvement > 0 else ""
        improvement = f"{sign}{write_number(score.improvement)} ± {write_number(score.spread, 2)}"
    fit = mean_fit(result)
    word = OUTCOMES[record.outcome]
    if record.outcome == "ok" and state == "failed":
        word = "gate failed"
    return DatasetCell(
        cell=record.cell,
        algorithm=record.algorithm,
        framework=record.framework,
        mode=record.mode,
        state=state,
        symbol=SYMBOLS[state],
        word=word,
        reason=record.reason if state != "passed" else "",
        numbers=(
            Number(write_number(score.value if score else None, 4), score.value if score else None),
            Number(
                write_number(score.baseline if score else None, 4),
                score.baseline if score else None,
            ),
            Number(improvement, score.improvement if score else None),
            Number(NOTHING if share is None else f"{share:.0%}", share),
            Number(write_seconds(fit), fit),
        ),
    )
