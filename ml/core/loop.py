"""Run the only epoch loop: row order, early stopping, history and the time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import History, NetworkSpec
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.learner import FitReport, Floats32, Problem, Stop
from ml.core.objective import Examples, Measured, checked_loss, measure_losses


@dataclass(frozen=True)
class TrainingState:
    """Hold all that a stepper carries from one update to the next, float32.

    ``first`` and ``second`` are the optimiser's moments of the trained weights: the momentum
    (sgd), or the means of the gradients and of their squares (adam, adamw).
    """

    weights: list[Floats32]
    first: list[Floats32]
    second: list[Floats32]
    updates: int


class Stepper(Protocol):
    """Take gradient steps in one framework; the loop decides everything else."""

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows.

        The last batch may be smaller; each batch's gradient is that of the mean over its own
        rows. There are at most as many rows as were staged.
        """

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]: logits or values."""

    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""

    def weights(self) -> list[Floats32]:
        """Return copies of the weights, in the order in which they were given."""

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""


@dataclass(frozen=True)
class Progress:
    """Hold how far a training has come: what the next epoch and the report depend on.

    ``best_weights`` are those of ``best_epoch``, none without a validation part. ``train`` and
    ``validation`` have the loss of each epoch; ``seconds`` were used by all of them. ``stopped``
    is None while there are epochs to come.
    """

    state: TrainingState
    best_weights: list[Floats32]
    best_epoch: int
    train: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: float
    stopped: Stop | None


class Keeper(Protocol):
    """Keep a training's progress where a later process finds it."""

    def load(self, start: TrainingState) -> Progress | None:
        """Return what was kept last, with arrays shaped as those of ``start``; None for nothing."""

    def is_due(self, epochs: int) -> bool:
        """Tell whether to save after so many epochs."""

    def save(self, progress: Progress) -> None:
        """Keep this progress in place of the last one."""


def check_rows(train: Examples) -> None:
    """Raise DataInvalid for a training part without rows."""
    if len(train.features) == 0:
        raise DataInvalid("the training part has no rows", code="no_training_rows")


class Training:
    """Decide for one training, epoch by epoch: its losses, best weights, patience and budget.

    ``weights`` gives copies of the model's weights now; ``epochs`` have been trained so far.
    ``stopped`` is None while there are epochs to come, and stays so where a ``problem`` ended
    the training. Raises DataInvalid for an empty training part.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples | None,
        spec: NetworkSpec,
        problem: Problem,
        order: np.random.Generator,
        seconds: float,
        weights: Callable[[], list[Floats32]],
    ) -> None:
        check_rows(train)
        self._rows = len(train.features)
        self._validation = validation
        self._spec, self._problem = spec, problem
        self._order = order
        self._seconds, self._used = seconds, 0.0
        self._weights = weights
        self._train_losses: list[float] = []
        self._validation_losses: list[float] = []
        self._best, self._best_epoch, self._best_weights = math.inf, 0, weights()
        self._resumed = 0
        self.stopped: Stop | None = None
        self.problem: TrainingDiverged | None = None

    @property
    def epochs(self) -> int:
        """Return the number of epochs so far."""
        return len(self._train_losses)

    @property
    def ended(self) -> bool:
        """Tell whether there are no epochs to come."""
        return self.stopped is not None or self.problem is not None

    @property
    def validated(self) -> bool:
        """Tell whether there is a validation part."""
        return self._validation is not None

    def resume(self, kept: Progress) -> None:
        """Go on from what was kept, the model having been given its state."""
        self._train_losses, self._validation_losses = list(kept.train), list(kept.validation)
        self._best = min(self._validation_losses, default=math.inf)
        self._best_epoch, self._best_weights = kept.best_epoch, kept.best_weights
        self._used, self.stopped = kept.seconds, kept.stopped
        self._resumed = len(self._train_losses)
        for _ in self._train_losses:
            self._order.permutation(self._rows)

    def progress(self, state: TrainingState) -> Progress:
        """Return what another process needs to go on, the model being in this state."""
        return Progress(
            state=state,
            best_weights=self._best_weights if self.validated else [],
            best_epoch=self._best_epoch,
            train=tuple(self._train_losses),
            validation=tuple(self._validation_losses),
            seconds=self._used,
            stopped=self.stopped,
        )

    def draw_order(self) -> NDArray[np.int64]:
        """Return the order of the rows in the next epoch."""
        return self._order.permutation(self._rows)

    def take_loss(self, loss: float) -> None:
        """Note the mean loss of an epoch's rows; one that is not good is the ``problem``."""
        try:
            self._train_losses.append(checked_loss(loss, self._train_losses))
        except TrainingDiverged as problem:
            self.problem = problem

    def validate(self, outputs: Floats32) -> Measured:
        """Return what the loss of the validation rows is measured of, given their raw outputs."""
        assert self._validation is not None
        return Measured(self._problem, outputs, self._validation)

    def take_validation_loss(self, current: float) -> None:
        """Note the loss of the validation rows after an epoch, as ``take_loss`` does."""
        try:
            checked = checked_loss(current, self._validation_losses, kind="validation loss")
        except TrainingDiverged as problem:
            self.problem = problem
            return
        self._validation_losses.append(checked)
        if current < self._best:
            self._best, self._best_epoch, self._best_weights = current, self.epochs, self._weights()
        elif self._spec.patience and self.epochs - self._best_epoch >= self._spec.patience:
            self.stopped = "early_stopping"

    def end_epoch(self) -> None:
        """Stop where the epochs or the seconds are used up."""
        if not self.validated:
            self._best_epoch = self.epochs
        if self.stopped is None and self.epochs == self._spec.epochs:
            self.stopped = "completed"
        if self.stopped is None and self._used > self._seconds:
            self.stopped = "time_budget"

    def charge(self, seconds: float) -> None:
        """Add to the wall seconds that were used."""
        self._used += seconds

    @property
    def seconds(self) -> float:
        """Return the wall seconds that were used."""
        return self._used

    def best_weights(self) -> list[Floats32]:
        """Return the weights of the best epoch so far: the last one without a validation part."""
        return self._best_weights if self.validated else self._weights()

    def report(self) -> FitReport:
        """Tell of the epochs so far; raises the problem that ended them."""
        if self.problem is not None:
            raise self.problem
        warnings = []
        if not self.validated and self._spec.patience:
            warnings.append("no validation part: early stopping is off, every epoch is trained")
        return FitReport(
            epochs=self.epochs,
            best_epoch=self._best_epoch,
            updates=self.epochs * math.ceil(self._rows / self._spec.batch_size),
            resumed_epochs=self._resumed,
            stopped=self.stopped or "completed",
            history=History(
                train=tuple(self._train_losses), validation=tuple(self._validation_losses)
            ),
            warnings=tuple(warnings),
        )


class Steppers(Protocol):
    """Take the epochs of several models side by side, each by its index."""

    def epoch(self, orders: Mapping[int, NDArray[np.int64]]) -> Mapping[int, float]:
        """Train these models for an epoch, as ``Stepper.epoch`` does; the others stand still."""

    def validate(self, indices: Sequence[int]) -> Mapping[int, Floats32]:
        """Return the raw outputs of these models for their validation rows."""

    def weights(self, index: int) -> list[Floats32]:
        """Return copies of a model's weights."""

    def release(self, index: int) -> None:
        """Forget a model that will be asked for no more."""


class Alone:
    """Take the epochs of one model; see ``Steppers``."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    def epoch(self, orders: Mapping[int, NDArray[np.int64]]) -> Mapping[int, float]:
        """Train the model for an epoch."""
        return {index: self._stepper.epoch(order) for index, order in orders.items()}

    def validate(self, indices: Sequence[int]) -> Mapping[int, Floats32]:
        """Return its raw outputs for the validation rows."""
        return {index: self._stepper.validate() for index in indices}

    def weights(self, index: int) -> list[Floats32]:
        """Return copies of its weights."""
        return self._stepper.weights()

    def release(self, index: int) -> None:
        """Do nothing: who asked for the model holds it."""


def advance(
    steppers: Steppers,
    trainings: Mapping[int, Training],
    epochs: Mapping[int, int],
    after: Callable[[], None] = lambda: None,
) -> None:
    """Train each model on until it has so many epochs in all, or has ended.

    The wall time of an epoch is shared equally by the models in it. ``after`` is called after
    each epoch.
    """
    started = time.monotonic()
    while active := {
        index: trainings[index]
        for index, goal in epochs.items()
        if not trainings[index].ended and trainings[index].epochs < goal
    }:
        orders = {index: training.draw_order() for index, training in active.items()}
        for index, loss in steppers.epoch(orders).items():
            active[index].take_loss(loss)
        held = [index for index, one in active.items() if one.validated and not one.ended]
        outputs = steppers.validate(held)
        losses = measure_losses([active[index].validate(outputs[index]) for index in held])
        for index, loss in zip(held, losses, strict=True):
            active[index].take_validation_loss(loss)
        now = time.monotonic()
        for training in active.values():
            training.charge((now - started) / len(active))
            if training.problem is None:
                training.end_epoch()
        started = now
        after()


def run_epochs(
    stepper: Stepper,
    train: Examples,
    validation: Examples | None,
    spec: NetworkSpec,
    problem: Problem,
    order: np.random.Generator,
    seconds: float,
    keeper: Keeper | None = None,
) -> FitReport:
    """Train until the epochs, the patience or the seconds are used up; keep the best weights.

    At least one epoch is run whatever the time. With a keeper the training goes on from what
    was kept, to the same bits as in one go; a complete one returns its report at once. Raises
    DataInvalid for an empty training part and TrainingDiverged, with the epoch and the last
    good loss, as soon as a loss is not a finite number or the training loss explodes: it
    exceeds ``ml.core.objective.EXPLOSION`` times the greater of the first epoch's and 1. Targets
    have unit variance, so no training that learns comes near; what a few extreme rows do to the
    validation loss says nothing of the training and is no divergence as long as it is finite.
    """
    started = time.monotonic()
    training = Training(train, validation, spec, problem, order, seconds, stepper.weights)
    stepper.stage(train, validation.features if validation else None)
    kept = keeper.load(stepper.state()) if keeper else None
    if kept:
        stepper.load_state(kept.state)
        training.resume(kept)
    training.charge(time.monotonic() - started)

    def keep() -> None:
        if (
            keeper
            and training.problem is None
            and (training.ended or keeper.is_due(training.epochs))
        ):
            keeper.save(training.progress(stepper.state()))

    advance(Alone(stepper), {0: training}, {0: spec.epochs}, keep)
    report = training.report()
    if validation is not None:
        stepper.load_weights(training.best_weights())
    return report
