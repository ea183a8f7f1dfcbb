"""Define the lines of a run's journal: head, records, tests, timings, reruns, resumptions, end."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveInt, TypeAdapter

from harness.store.migrations import RECORD_VERSION as RECORD_VERSION
from harness.store.migrations import migrate
from ml.core.contracts import (
    Contract,
    ErrorInfo,
    Framework,
    Mode,
    Outcome,
    RuntimeSpec,
    Task,
    TrainResult,
)

State = Literal["failed", "expected", "unavailable", "passed"]
# A worker that died may have been ended from outside; a missing framework may come.
NOT_FINAL: tuple[Outcome, ...] = ("crashed", "unavailable")
RungName = Literal[
    "splits",
    "rows",
    "forward",
    "loss_1",
    "gradient_1",
    "weights_1",
    "weights_10",
    "weights_100",
    "metric",
]
RUNGS: tuple[RungName, ...] = get_args(RungName)


class Verdict(Contract):
    """Say what one gate found: ``text`` has the numbers, ``expected`` the declared reason.

    ``fail`` with ``expected`` set is a declared failure and breaks nothing; ``pass`` with
    ``expected`` set says that the declaration is out of date.
    """

    gate: str
    status: Literal["pass", "fail", "not_applicable"]
    text: str
    expected: str | None = None

    @property
    def breaks(self) -> bool:
        """Tell whether this verdict fails the cell."""
        return self.status == "fail" and self.expected is None


class Score(Contract):
    """Condense the replicates of a cell's metric beside the dummy baseline's.

    ``value`` and ``baseline`` are means over replicates; ``improvement`` is the mean of the
    paired differences, positive when the model is better, and ``spread`` their sample
    standard deviation (0 for one replicate).
    """

    metric: str
    greater_is_better: bool
    value: float
    baseline: float
    improvement: float
    spread: Annotated[float, Field(ge=0)]


class Rung(Contract):
    """Hold how far two frameworks are apart at one rung of the ladder, and how far they may be.

    ``difference`` is relative, but absolute for a bounded metric; None says that there is no
    such number, or that what must be equal is not, and ``reason`` why. A limit of 0 asks for
    equality. ``values`` are the metric's.
    """

    name: RungName
    difference: Annotated[float, Field(ge=0)] | None
    limit: Annotated[float, Field(ge=0)]
    reason: str | None = None
    values: str | None = None

    @property
    def passes(self) -> bool:
        """Tell whether the two frameworks agree at this rung."""
        return self.difference is not None and self.difference <= self.limit

    @property
    def word(self) -> str:
        """Return the difference in short: 3.1e-08, 0, or equal, differs, none."""
        if self.limit == 0:
            return "equal" if self.passes else "differs"
        if self.difference is None:
            return "none"
        return f"{self.difference:.1e}" if self.difference else "0"


class Comparison(Contract):
    """Hold a cell's comparison with the same cell of another framework, rung by rung.

    ``frameworks`` are both, in the order of all frameworks; the first is the one that the
    differences are relative to. ``other`` is the cell that had been run before this one.
    """

    frameworks: tuple[Framework, Framework]
    other: str
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1)]

    @property
    def passes(self) -> bool:
        """Tell whether the two frameworks agree at every rung."""
        return all(rung.passes for rung in self.rungs)


class Attempt(Contract):
    """Hold how an attempt at a cell ended that was followed by another one."""

    outcome: Outcome
    reason: str
    seconds: Annotated[float, Field(ge=0)]


class Record(Contract):
    """Hold one cell's outcome in one run: what was asked, what came, how it was judged.

    ``attempts`` are those before the one that counts. ``reused`` names the run that trained the
    cell, None where this one did; the seconds, timings and memory of a reused record are that
    run's, and belong in no trend of this one. ``fingerprint`` has a value or a hash of each part
    that the result depends on, and ``key`` is the hash of them all; None where it is not known.
    """

    kind: Literal["record"] = "record"
    version: Literal[2] = 2
    run: str
    cell: str
    dataset: str
    algorithm: str
    framework: Framework
    mode: Mode
    task: Task
    key: str | None = None
    reused: str | None = None
    outcome: Outcome
    reason: str
    started: str
    seconds: Annotated[float, Field(ge=0)]
    limit_seconds: Annotated[float, Field(gt=0)]
    error: ErrorInfo | None = None
    score: Score | None = None
    verdicts: tuple[Verdict, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    request: dict[str, Any]
    result: TrainResult | None = None
    attempts: tuple[Attempt, ...] = ()
    fingerprint: dict[str, str] = Field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Tell whether any gate fails this cell without that having been declared."""
        return any(verdict.breaks for verdict in self.verdicts)

    @property
    def is_final(self) -> bool:
        """Tell whether a resumed run keeps this record, and does not run the cell again."""
        return self.outcome not in NOT_FINAL

    @property
    def cut(self) -> bool:
        """Tell whether the clock ended a training or a search, so that it would not come again."""
        return self.result is not None and is_cut(self.result)


def is_cut(result: TrainResult) -> bool:
    """Tell whether the clock ended a training, or a search or one of its trials."""
    sweep = result.sweep
    if sweep is not None and (
        sweep.ended == "seconds" or any(trial.outcome == "timeout" for trial in sweep.trials)
    ):
        return True
    return any(replicate.stopped == "time_budget" for replicate in result.replicates)


def state_of(record: Record) -> State:
    """Tell how a cell ended: a failure that was declared is none.

    A cell without a result that no gate has judged counts as failed.
    """
    if record.outcome == "unavailable":
        return "unavailable"
    if record.failed:
        return "failed"
    if any(verdict.status == "fail" for verdict in record.verdicts):
        return "expected"
    return "passed" if record.outcome == "ok" else "failed"


class TestLine(Contract):
    """Hold how one test ended; ``cell`` is set where the test asked for one."""

    __test__ = False

    kind: Literal["test"] = "test"
    node: str
    cell: str | None = None
    status: Literal["passed", "failed", "skipped", "xfailed", "xpassed", "error"]
    reason: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0


class Head(Contract):
    """Open a journal with everything that its records share.

    ``runtime`` is what was asked of the workers, None in a head of before it was recorded;
    the device that was used stands in each result. ``cluster`` is what an executor's cluster had
    in all: nodes, CPU, GPU, and memory in bytes; the rest describes the machine that asked.
    """

    kind: Literal["run"] = "run"
    version: Literal[2] = 2
    run: str
    started: str
    command: tuple[str, ...]
    git_commit: str | None
    git_branch: str | None
    git_dirty: bool | None
    python: str
    platform: str
    cpu: str
    cores: PositiveInt
    memory_bytes: Annotated[int, Field(ge=0)]
    threads_per_worker: PositiveInt
    runtime: RuntimeSpec | None = None
    executor: str = "local"
    cluster: dict[str, float] = Field(default_factory=dict)
    packages: dict[str, str]


class Timing(Contract):
    """Hold how long one benchmark took: ``seconds`` are the median of its rounds.

    ``spread`` is their interquartile range. ``calibration_seconds`` are those of the calibration
    kernel beside it, None where it was not measured; ``parameters`` the test's own.
    """

    kind: Literal["timing"] = "timing"
    version: Literal[2] = 2
    run: str
    cell: str
    name: str
    started: str
    seconds: Annotated[float, Field(ge=0)]
    spread: Annotated[float, Field(ge=0)]
    rounds: PositiveInt
    calibration_seconds: Annotated[float, Field(gt=0)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class Rerun(Contract):
    """Hold one more training of a cell that was suspect, made when the run's tests had ended.

    ``measures`` has its seconds of training (``fit``) and its peak memory in bytes
    (``peak_memory``); it is empty where the training failed, which ``reason`` tells.
    """

    kind: Literal["rerun"] = "rerun"
    version: Literal[2] = 2
    cell: str
    started: str
    outcome: Outcome
    reason: str = ""
    seconds: Annotated[float, Field(ge=0)]
    measures: dict[str, float] = Field(default_factory=dict)
    calibration_seconds: Annotated[float, Field(gt=0)] | None = None


class Resumed(Contract):
    """Say that another session goes on with the run from here, and at which commit."""

    kind: Literal["resumed"] = "resumed"
    started: str
    command: tuple[str, ...]
    git_commit: str | None = None


class End(Contract):
    """Close a session's part of a journal; a journal that does not end so was cut off."""

    kind: Literal["end"] = "end"
    finished: str
    exit_status: int
    seconds: Annotated[float, Field(ge=0)]


Line = Head | Record | TestLine | Timing | Rerun | Resumed | End
_line: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def parse_line(text: str | bytes) -> Line:
    """Read one journal line, migrated where an earlier version wrote it.

    Raises pydantic's ValidationError if it is none, NewerVersion if a later version wrote it.
    """
    return _line.validate_json(migrate(text))
