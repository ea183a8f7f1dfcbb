"""Define what a framework supplies: an adapter, and learners that fit and predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import EstimatorSpec, History, ImportedSpec, NetworkSpec, RuntimeSpec
from ml.core.errors import RequestInvalid
from ml.core.seeding import stream
from ml.core.specs import Scalar

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Loss = Literal["binary", "softmax", "squared"]
Stop = Literal["completed", "early_stopping", "time_budget"]
Known = Mapping[str, Scalar | tuple[Scalar, ...]]
RUNTIME_FIXED = "runtime_fixed"


@dataclass(frozen=True)
class Distillation:
    """Say how a student learns: the softness of the teacher's outputs, and their weight."""

    temperature: float
    soft_share: float


@dataclass(frozen=True)
class Problem:
    """Give the width of a problem: ``classes`` is 0 for a regression, else at least 2.

    ``distillation`` is set for a student, whose parts then carry the teacher's outputs.
    ``window`` has the places of those features that are the target's past, oldest first.
    """

    inputs: int
    classes: int
    distillation: Distillation | None = None
    window: tuple[int, ...] = ()

    @property
    def loss(self) -> Loss:
        """Return the loss that fits: one logit, one logit a class, or squared error."""
        if self.classes == 0:
            return "squared"
        return "binary" if self.classes == 2 else "softmax"

    @property
    def outputs(self) -> int:
        """Return the width of a network's output."""
        return self.classes if self.loss == "softmax" else 1


@dataclass(frozen=True)
class Part:
    """Hold one part of a split: features float32 [n, inputs] and the target.

    The target is int64 class indices, or float32 values scaled by the training rows. ``soft``
    is what a teacher predicts for these rows: probabilities [n, classes], or scaled values [n].
    """

    features: Floats32
    target: NDArray[np.int64] | Floats32
    soft: Floats64 | Floats32 | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.features.shape[0])


@dataclass(frozen=True)
class Draws:
    """Hold the random streams of one replicate, each drawn from the request's seed by name.

    ``estimator`` serves what a framework draws by itself, and the values that a network drops.
    """

    weights: np.random.Generator
    order: np.random.Generator
    estimator: np.random.Generator

    @classmethod
    def of(cls, seed: int, *place: str | int) -> Draws:
        """Return the streams of what stands at this place, such as a replicate's index."""
        return cls(*(stream(seed, name, *place) for name in ("weights", "order", "estimator")))


@dataclass(frozen=True)
class FitReport:
    """Tell how a fit went; ``epochs`` and ``updates`` are 0 for an estimator without them.

    ``resumed_epochs`` of the epochs were not trained now, but came from a checkpoint.
    """

    epochs: int = 0
    best_epoch: int = 0
    updates: int = 0
    resumed_epochs: int = 0
    stopped: Stop = "completed"
    history: History = field(default_factory=History)
    warnings: tuple[str, ...] = ()


class Learner(Protocol):
    """Fit one model and predict with it."""

    def fit(self, train: Part, validation: Part | None, draws: Draws, seconds: float) -> FitReport:
        """Train on the rows of ``train`` for about ``seconds`` at most; raises MatrixError."""

    def predict(self, features: Floats32) -> Floats64:
        """Return probabilities [n, classes], or scaled values [n] for a regression."""

    def trace(self, train: Part, draws: Draws) -> dict[str, NDArray[Any]] | None:
        """Return what the first updates compute, by rung, flat; None where there are none.

        The rungs are those of ``ml.core.contracts.ParityTrace``, and ``rows``, the rows of the
        updates in their order. The learner is as unfitted as before.
        """

    def parameters(self) -> int:
        """Return the number of fitted parameters, 0 where the model has no such count."""

    def serialize(self) -> bytes:
        """Return the fitted model as bytes that can be loaded without executing anything."""

    def restore(self, content: bytes) -> None:
        """Become the model that ``serialize`` wrote; raises DataInvalid where it is not one."""


@dataclass(frozen=True)
class Member:
    """Hold one network to train in a cohort: what its learner would be made of and fitted to."""

    spec: NetworkSpec
    problem: Problem
    train: Part
    validation: Part | None
    draws: Draws
    seconds: float


class Cohort(Protocol):
    """Train several networks side by side, epoch by epoch, each as if it were alone.

    They are called by their index among the members. A member ends as a training does, by a
    problem that belongs to it alone, or where it is dropped.
    """

    def advance(self, epochs: Mapping[int, int]) -> None:
        """Train members on until each has so many epochs in all; those that ended stay so."""

    def drop(self, index: int) -> None:
        """Train a member no further; what it has learnt so far stays."""

    def ended(self, index: int) -> bool:
        """Tell whether there are no epochs to come."""

    def report(self, index: int) -> FitReport:
        """Tell of a member's epochs so far; raises what its training raised."""

    def learner(self, index: int) -> Learner:
        """Return a learner that predicts with a member's best weights so far.

        Raises what its training raised.
        """

    def seconds(self, index: int) -> float:
        """Return a member's share of the wall seconds of training."""


@dataclass(frozen=True)
class Adapter:
    """Declare one framework: what it can do, and how a learner of it is made.

    ``uses_validation`` says whether its learners stop early on a validation part; where they
    do not, those rows train. ``prepare`` sets device, threads and determinism; it may be called
    again, also with another runtime, and raises RequestInvalid for what is not there
    (``device_unavailable``) or is fixed in this process (``runtime_fixed``). ``devices`` names
    those that the framework finds, ``device`` the one in use.
    """

    name: str
    accepts: type[NetworkSpec] | type[EstimatorSpec]
    uses_validation: bool
    suffix: str
    make_learner: Callable[[NetworkSpec | EstimatorSpec | ImportedSpec, Problem], Learner]
    prepare: Callable[[RuntimeSpec], None]
    versions: Callable[[], dict[str, str]]
    devices: Callable[[], tuple[str, ...]]
    device: Callable[[], str]
    open_cohort: Callable[[Sequence[Member], int], Cohort] | None = None
    settings_of: Callable[[EstimatorSpec | ImportedSpec, int], Known | None] | None = None
    models_at_once: Callable[[Member, int], int] = lambda member, asked: 1

    @property
    def trains_students(self) -> bool:
        """Tell whether its learners can learn from a teacher's outputs: networks do."""
        return self.accepts is NetworkSpec

    @property
    def keeps_checkpoints(self) -> bool:
        """Tell whether its learners train in epochs, between which they can be kept."""
        return self.accepts is NetworkSpec

    def prepare_in_place(self) -> None:
        """Prepare with the defaults in a caller's own process; what is fixed there stays so."""
        try:
            self.prepare(RuntimeSpec())
        except RequestInvalid as problem:
            if problem.code != RUNTIME_FIXED:
                raise


@dataclass(frozen=True)
class Peers:
    """Reach the other frameworks: their adapters by name, and which of them train students."""

    adapter_of: Callable[[str], Adapter]
    students: tuple[str, ...]


def no_such_device(library: str, devices: tuple[str, ...], install: str = "") -> RequestInvalid:
    """Return the refusal of a device that a library does not find; ``install`` may help."""
    return RequestInvalid(
        f"{library} finds no CUDA device",
        code="device_unavailable",
        field="runtime.device",
        expected="a device that is there: " + ", ".join(devices),
        received="'cuda'",
        remedy="set the device to 'auto' or 'cpu'" + (f", or {install}" if install else ""),
    )


def fixed_at_start(library: str, key: str, now: str, asked: object) -> RequestInvalid:
    """Return the refusal to change what a library has fixed when it started in this process."""
    return RequestInvalid(
        f"{library} has started in this process, and its {key} cannot be changed any more",
        code=RUNTIME_FIXED,
        field=f"runtime.{key}",
        expected=now,
        received=repr(asked),
        remedy=f"send the request to a fresh process, or set runtime.{key} before the first one",
    )
