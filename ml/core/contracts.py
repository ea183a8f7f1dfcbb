"""Define what crosses the wall: strict, versioned pydantic models, JSON both ways."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, TypeAdapter

from ml.core.rules import CheckName as CheckName
from ml.core.rules import ColumnRule as ColumnRule
from ml.core.rules import DescriptorData as DescriptorData
from ml.core.rules import ExpectedBreach as ExpectedBreach
from ml.core.rules import ForecastRule as ForecastRule
from ml.core.rules import FunctionData as FunctionData
from ml.core.rules import InlineData as InlineData
from ml.core.rules import SplitRule as SplitRule
from ml.core.rules import TableRules as TableRules
from ml.core.rules import Task as Task
from ml.core.rules import check_rules as check_rules
from ml.core.specs import CheckpointSpec as CheckpointSpec
from ml.core.specs import Contract as Contract
from ml.core.specs import EstimatorSpec as EstimatorSpec
from ml.core.specs import ImportedSpec as ImportedSpec
from ml.core.specs import ModelSpec as ModelSpec
from ml.core.specs import Name as Name
from ml.core.specs import NetworkSpec as NetworkSpec
from ml.core.specs import NotNegative, Positive
from ml.core.specs import OptimizerSpec as OptimizerSpec
from ml.core.specs import PreprocessingSpec as PreprocessingSpec
from ml.core.specs import RuntimeSpec as RuntimeSpec
from ml.core.specs import Scalar as Scalar
from ml.core.specs import ScheduleSpec as ScheduleSpec
from ml.core.specs import Target as Target
from ml.core.trials import Choice as Choice
from ml.core.trials import Dimension as Dimension
from ml.core.trials import FloatRange as FloatRange
from ml.core.trials import IntRange as IntRange
from ml.core.trials import SearchSpace as SearchSpace
from ml.core.trials import SweepInfo as SweepInfo
from ml.core.trials import SweepSpec as SweepSpec
from ml.core.trials import Trial as Trial

SCHEMA_VERSION = 1

Framework = Literal["sklearn", "pytorch", "tensorflow", "jax"]
Mode = Literal["train", "sweep", "distill"]
Outcome = Literal[
    "ok",
    "error",
    "timeout",
    "out_of_memory",
    "crashed",
    "diverged",
    "data_invalid",
    "unavailable",
]


class Budget(Contract):
    """Bound one cell: rows used, and seconds of training before the loop stops by itself."""

    rows: Annotated[int, Field(ge=2)] = 10_000
    seconds: Positive = 60.0


class SketchSpec(Contract):
    """Say where sketches of tables are kept from run to run, and which run this is."""

    folder: str
    run: str


class TrainRequest(Contract):
    """Ask for one cell: train and measure a model on ``replicates`` seeded splits.

    ``seed`` feeds every stream of random numbers by name, so equal seeds give equal samples,
    splits, initial weights and row orders in every framework. With ``checkpoint`` a network's
    training that was killed goes on where it was last kept, to the same bits. With ``sketches``
    the table is compared with the one of an earlier run.
    """

    schema_version: Literal[1] = 1
    id: str = "request"
    data: Annotated[DescriptorData | InlineData | FunctionData, Field(discriminator="kind")]
    model: ModelSpec
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    replicates: Annotated[int, Field(ge=1, le=100)] = 3
    budget: Budget = Budget()
    runtime: RuntimeSpec = RuntimeSpec()
    artifact_dir: str | None = None
    checkpoint: CheckpointSpec | None = None
    sketches: SketchSpec | None = None

    @property
    def replicate_seconds(self) -> float:
        """Return the seconds of training that a replicate has, its share of the budget."""
        return self.budget.seconds / self.replicates


class StatusRequest(Contract):
    """Ask what a worker finds of its framework, once it is set up for this runtime."""

    schema_version: Literal[1] = 1
    id: str = "status"
    runtime: RuntimeSpec = RuntimeSpec()


class TeacherSpec(Contract):
    """Name one teacher: a model of any framework, and how the table is prepared for it."""

    framework: Framework
    model: ModelSpec
    preprocessing: PreprocessingSpec = PreprocessingSpec()


class DistillRequest(TrainRequest):
    """Ask for a student: train ``model`` on the outputs of teachers and on the targets.

    The teachers are fitted on the student's own training rows of each replicate; several are
    one teacher by the mean of their outputs. ``soft_share`` is the weight of the teachers'
    outputs, softened by ``temperature`` in a classification, beside that of the targets.
    A ``checkpoint`` keeps the student's training; the teachers are fitted again.
    """

    teachers: Annotated[tuple[TeacherSpec, ...], Field(min_length=1, max_length=8)]
    temperature: Annotated[float, Field(ge=0.1, le=100)] = 2.0
    soft_share: Annotated[float, Field(ge=0, le=1)] = 0.7


class SweepRequest(TrainRequest):
    """Ask for the best model of a search space: search, refit the winner, and measure it.

    Trials are trained and chosen on the training and validation rows of the first split. The
    winner is refitted ``replicates`` times from other initial weights and row orders, and measured
    on the test rows of that split, which no trial has seen.
    """

    sweep: SweepSpec


class Breach(Contract):
    """Tell what a check of the data's contract objects to.

    A warning fails nothing, and neither does a breach that is ``expected``: the declared reason.
    """

    check: CheckName
    column: str | None = None
    message: str
    severity: Literal["breach", "warning"]
    expected: str | None = None


class ContractCheck(Contract):
    """Hold one check of the data's contract: how it ended, and what was found."""

    name: CheckName
    status: Literal["passed", "warning", "expected", "breach"]
    found: str


class ContractReport(Contract):
    """Hold how a table keeps its contract, by the checks that apply to it.

    ``rows`` is how many of its rows the checks of the split looked at.
    """

    content_sha256: str
    rows: PositiveInt
    checks: tuple[ContractCheck, ...]
    breaches: tuple[Breach, ...] = ()


class ErrorInfo(Contract):
    """Name a failure: a stable code, a sentence, the field, expected, received, the remedy.

    ``contract`` is that of the data, where a breach of it is the failure.
    """

    code: str
    message: str
    field: str | None = None
    expected: str | None = None
    received: str | None = None
    remedy: str | None = None
    detail: str | None = None
    contract: ContractReport | None = None


class SampleInfo(Contract):
    """Record which rows a cell used: all, a seeded ``random`` sample, ``newest`` or ``first``."""

    method: Literal["all", "random", "newest", "first"]
    rows: PositiveInt
    rows_total: PositiveInt
    rows_sha256: str


class DataSummary(Contract):
    """Identify the data that a result stands on; ``classes`` is empty for a regression."""

    id: str
    task: Task
    content_sha256: str
    numeric: int
    categorical: int
    classes: tuple[str, ...]
    sample: SampleInfo


class Timings(Contract):
    """Give wall seconds by phase: load, prepare (split, fit, transform), fit, predict, score."""

    load: NotNegative = 0.0
    prepare: NotNegative = 0.0
    fit: NotNegative = 0.0
    predict: NotNegative = 0.0
    score: NotNegative = 0.0

    @property
    def total(self) -> float:
        """Return the sum of the phases in seconds."""
        return self.load + self.prepare + self.fit + self.predict + self.score


class History(Contract):
    """Keep the mean training and validation loss of each epoch; empty for estimators."""

    train: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()


class ReplicateResult(Contract):
    """Hold one seeded split's metrics beside those of the dummy baseline on the same split.

    A metric that cannot be computed stands in ``undefined`` with its reason.
    ``split_sha256`` identifies the exact rows of train, validation and test.
    ``resumed_epochs`` is how many of the epochs came from a checkpoint; the timings are without
    them.
    """

    index: Annotated[int, Field(ge=0)]
    split_sha256: str
    train_rows: PositiveInt
    validation_rows: Annotated[int, Field(ge=0)]
    test_rows: PositiveInt
    features: PositiveInt
    metrics: dict[str, float]
    baseline: dict[str, float]
    undefined: dict[str, str] = Field(default_factory=dict)
    epochs: Annotated[int, Field(ge=0)] = 0
    best_epoch: Annotated[int, Field(ge=0)] = 0
    updates: Annotated[int, Field(ge=0)] = 0
    resumed_epochs: Annotated[int, Field(ge=0)] = 0
    stopped: Literal["completed", "early_stopping", "time_budget"] = "completed"
    history: History = History()
    timings: Timings = Timings()


class ParityTrace(Contract):
    """Let the first updates of the first replicate be compared between frameworks.

    ``rows_sha256`` identifies the split and the order of the rows in those updates. ``rungs``
    holds what was computed on the way: ``forward`` (outputs of the initial weights), ``loss_1``
    (of the first batch), ``gradient_1``, and ``weights_1``, ``weights_10``, ``weights_100``
    after so many updates. Up to 32 numbers stand as they are; more are sketched by 32 seeded
    random projections (``ml.core.parity``), so the relative difference of two rungs a and b is
    |a - b| / |b| by the Euclidean norm in both cases, for sketches an unbiased estimate of the
    squares. ``sizes`` says how many numbers each rung had.
    """

    rows_sha256: str
    rungs: dict[str, tuple[float, ...]]
    sizes: dict[str, int] = Field(default_factory=dict)


class DistillationInfo(Contract):
    """Compare a student with its teachers, several of them taken as one.

    ``teacher_metrics`` are those of each replicate's test rows. Parameters and artifact bytes
    are sums over the teachers of the first replicate, ``teacher_fit`` their wall seconds over
    all. A latency is the median of seconds per 1,000 rows predicted, feature matrices given.
    ``metric_change`` is the mean of the paired differences in the cell's metric, positive where
    the student is better. ``agreement`` is the share of equally predicted classes, or the R² of
    the student's outputs as a prediction of the teachers'. None stands for what is not defined.
    """

    teacher_metrics: tuple[dict[str, float], ...]
    teacher_parameters: Annotated[int, Field(ge=0)]
    teacher_artifact_bytes: PositiveInt
    teacher_fit: NotNegative
    teacher_latency: Positive
    student_latency: Positive
    size_reduction_percent: float
    metric_change: float | None
    speed_up: Positive
    agreement: float | None


class TrainResult(Contract):
    """Answer a train or distill request; ``metric`` is the one by which the cell is judged.

    In a distillation everything is the student's, but for ``distillation`` and the peak memory,
    which is that of teaching, too; its phase prepare has the making of the soft targets. In a
    sweep everything is the tuned model's, but for ``sweep`` and the peak memory.
    ``parity`` is there for networks, None for estimators. ``device`` is the one that was used,
    "cpu" or "cuda:0", or "unknown" in a result of before it was recorded. ``calibration_seconds``
    is what a fixed piece of work took beside the cell (``ml.core.calibration``), None in a result
    of before it was measured. ``contract`` is None in a result of before data had one.
    """

    schema_version: Literal[1] = 1
    status: Literal["ok"] = "ok"
    id: str
    framework: str
    data: DataSummary
    metric: str
    greater_is_better: bool
    replicates: tuple[ReplicateResult, ...]
    parameters: Annotated[int, Field(ge=0)]
    timings: Timings
    rows_per_second: NotNegative
    peak_memory_bytes: Annotated[int, Field(ge=0)]
    calibration_seconds: NotNegative | None = None
    artifact_bytes: Annotated[int, Field(ge=0)]
    artifact: str | None = None
    distillation: DistillationInfo | None = None
    sweep: SweepInfo | None = None
    parity: ParityTrace | None = None
    contract: ContractReport | None = None
    warnings: tuple[str, ...] = ()
    versions: dict[str, str]
    threads: PositiveInt
    device: str = "unknown"


class FrameworkStatus(Contract):
    """Tell what a worker finds of its framework: versions, devices, and device and threads used."""

    schema_version: Literal[1] = 1
    status: Literal["ok"] = "ok"
    framework: str
    versions: dict[str, str]
    devices: tuple[str, ...]
    threads: PositiveInt
    device: str = "unknown"


class Failure(Contract):
    """Answer a request that gave no result: the outcome and its reason."""

    schema_version: Literal[1] = 1
    status: Literal["error"] = "error"
    id: str
    outcome: Outcome
    error: ErrorInfo


Response = Annotated[TrainResult | Failure, Field(discriminator="status")]
_response: TypeAdapter[TrainResult | Failure] = TypeAdapter(Response)
_status: TypeAdapter[FrameworkStatus | Failure] = TypeAdapter(
    Annotated[FrameworkStatus | Failure, Field(discriminator="status")]
)


def parse_response(text: str | bytes) -> TrainResult | Failure:
    """Read a response from JSON; raises pydantic's ValidationError if it is not one."""
    return _response.validate_json(text)


def parse_status(text: str | bytes) -> FrameworkStatus | Failure:
    """Read the answer to a status request; raises pydantic's ValidationError if it is none."""
    return _status.validate_json(text)


GREATER_IS_BETTER: dict[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "f1": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "rmse": False,
    "mae": False,
    "r2": True,
    "mase": False,
}
