"""Train suspect cells again when a run's tests have ended, before anyone is told of a change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.execute.executor import Execution
from harness.execute.local import LocalExecutor
from harness.report.text import count
from harness.store.index import open_index
from harness.store.journal import Journal, now
from harness.store.record import Record, Rerun
from harness.store.rows import RerunRow
from harness.store.series import Series
from harness.trends.gather import judge_all, make_confirmations
from harness.trends.judge import judge_series
from harness.trends.rule import Rule
from harness.trends.trend import Trend
from ml.core.contracts import DistillRequest, Mode, SweepRequest, TrainRequest, TrainResult

REQUESTS: dict[Mode, type[TrainRequest]] = {
    "train": TrainRequest,
    "sweep": SweepRequest,
    "distill": DistillRequest,
}


@dataclass
class Suspect:
    """Hold a cell of the run whose newest values stand out, in one measure or several."""

    record: Record
    earlier: list[RerunRow]
    series: list[Series] = field(default_factory=list)
    rows: list[RerunRow] = field(default_factory=list)

    def judge(self) -> Iterator[Trend]:
        """Judge its series with what has been rerun so far."""
        known = make_confirmations(self.record.cell, [*self.earlier, *self.rows])
        for series in self.series:
            yield judge_series(series, None, known)

    @property
    def is_open(self) -> bool:
        """Tell whether any of its series still awaits a rerun."""
        return any(trend.state == "suspect" for trend in self.judge())


def find_suspects(reports: Path, run: str) -> list[Suspect]:
    """Return the suspect cells of a run, those that were quickest first."""
    found: dict[str, Suspect] = {}
    with open_index(reports) as index:
        if len(index.runs("matrix")) <= Rule().minimum_history:
            return []
        reruns = index.reruns()
        for series, trend in judge_all(index):
            if trend.state != "suspect" or series.points[-1].run != run:
                continue
            cell = series.cell
            if cell not in found:
                found[cell] = Suspect(index.record(cell, run), reruns.get(cell, []))
            found[cell].series.append(series)
    return sorted(found.values(), key=lambda suspect: suspect.record.seconds)


def confirm_suspects(
    journal: Journal, executor: LocalExecutor, seconds: float, tell: Callable[[str], None]
) -> None:
    """Rerun the suspect cells of the journal's run, and append what came to the journal.

    A cell is trained again, alone on the machine and with the calibration kernel beside it, until
    its trend is decided, or as often as the rule allows. No rerun begins after ``seconds``: what
    was not decided by then stays suspect, which ``tell`` says.
    """
    suspects = find_suspects(journal.folder.parents[1], journal.run)
    if not suspects:
        return
    tell(f"matrix: {count(len(suspects), 'cell')} suspect of a change; training again to be sure")
    deadline = time.monotonic() + seconds
    for suspect in suspects:
        for _ in range(Rule().reruns):
            if not suspect.is_open or time.monotonic() + suspect.record.seconds > deadline:
                break
            line = _rerun(suspect.record, executor)
            journal.append(line)
            suspect.rows += [
                RerunRow(journal.run, measure, value, line.calibration_seconds)
                for measure, value in line.measures.items()
            ]
            if line.outcome != "ok":
                break
    left = [suspect.record.cell for suspect in suspects if suspect.is_open]
    if left:
        tell(f"matrix: still suspect, for want of time or of a result: {', '.join(left)}")


def _rerun(record: Record, executor: LocalExecutor) -> Rerun:
    kind = REQUESTS[record.mode]
    # What was written is this version's own, so it is read as strictly as it was.
    request = kind.model_validate_json(json.dumps(record.request))
    started = now()
    execution = executor.send(record.framework, record.mode, request, record.limit_seconds)
    return _line(record.cell, started, execution)


def _line(cell: str, started: str, execution: Execution) -> Rerun:
    result = execution.response
    if not isinstance(result, TrainResult):
        return Rerun(
            cell=cell,
            started=started,
            outcome=result.outcome,
            reason=result.error.message,
            seconds=execution.seconds,
        )
    return Rerun(
        cell=cell,
        started=started,
        outcome="ok",
        seconds=execution.seconds,
        measures={
            "fit": result.timings.fit,
            "peak_memory": float(result.peak_memory_bytes),
        },
        calibration_seconds=result.calibration_seconds,
    )
