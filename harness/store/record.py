"""Define the lines of a run's journal: head, records, tests, end."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, TypeAdapter

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

RECORD_VERSION = 1


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


class Record(Contract):
    """Hold one cell's outcome in one run: what was asked, what came, how it was judged."""

    kind: Literal["record"] = "record"
    version: Literal[1] = 1
    run: str
    cell: str
    dataset: str
    algorithm: str
    framework: Framework
    mode: Mode
    task: Task
    outcome: Outcome
    reason: str
    started: str
    seconds: Annotated[float, Field(ge=0)]
    limit_seconds: Annotated[float, Field(gt=0)]
    error: ErrorInfo | None = None
    score: Score | None = None
    verdicts: tuple[Verdict, ...] = ()
    request: dict[str, Any]
    result: TrainResult | None = None

    @property
    def failed(self) -> bool:
        """Tell whether any gate fails this cell without that having been declared."""
        return any(verdict.breaks for verdict in self.verdicts)


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
    the device that was used stands in each result.
    """

    kind: Literal["run"] = "run"
    version: Literal[1] = 1
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
    packages: dict[str, str]


class End(Contract):
    """Close a journal; a journal without it was cut off."""

    kind: Literal["end"] = "end"
    finished: str
    exit_status: int
    seconds: Annotated[float, Field(ge=0)]


Line = Annotated[Head | Record | TestLine | End, Field(discriminator="kind")]
_line: TypeAdapter[Head | Record | TestLine | End] = TypeAdapter(Line)


def parse_line(text: str | bytes) -> Head | Record | TestLine | End:
    """Read one journal line; raises pydantic's ValidationError if it is not one."""
    return _line.validate_json(text)
