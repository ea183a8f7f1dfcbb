"""Run the only epoch loop: row order, early stopping, history and the time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import History, NetworkSpec
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.learner import FitReport, Floats32, Loss, Problem, Stop
from ml.core.ops import NUMPY, row_loss


@dataclass(frozen=True)
class Examples:
    """Hold rows as a network learns them: features [n, inputs] and targets for ``objective``.

    Targets are [n, outputs], or for a student that learns classes [n, 2 · outputs]. ``weights``
    [n] are those of the rows in the loss, 1 for each where it is None. All are float32.
    """

    features: Floats32
    targets: Floats32
    weights: Floats32 | None = None


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


EXPLOSION = 1e6


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


def mean_loss(loss: Loss, outputs: Floats32, targets: Floats32) -> float:
    """Return the mean of ``ml.core.ops.row_loss``, in float64, alike for every framework."""
    # Outputs that are no numbers give a loss that is none, which the loop reports.
    with np.errstate(over="ignore", invalid="ignore"):
        rows = row_loss(
            NUMPY, loss, np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
        )
    return float(rows.sum() / len(rows))


def measure_loss(problem: Problem, outputs: Floats32, examples: Examples) -> float:
    """Return the objective over rows with their weights, as ``mean_loss`` does."""
    if examples.weights is None:
        return float(objective(problem, mean_loss, outputs, examples.targets))
    row_by_row = partial(row_loss, NUMPY)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = objective(
            problem, row_by_row, outputs.astype(np.float64), examples.targets.astype(np.float64)
        )
    return float(np.mean(rows * examples.weights))


def objective(
    problem: Problem, loss: Callable[[Loss, Any, Any], Any], outputs: Any, targets: Any
) -> Any:
    """Return what is minimised, of any framework's arrays, given the loss of a batch or row.

    A student that learns classes has hard and soft targets side by side: the cross-entropies
    with both are mixed, that of the soft ones at the temperature and times its square, which
    keeps the gradients' sizes alike (Hinton, Vinyals and Dean 2015, section 2).
    """
    rule = problem.distillation
    if rule is None or problem.loss == "squared":
        return loss(problem.loss, outputs, targets)
    hard, soft = targets[:, : problem.outputs], targets[:, problem.outputs :]
    plain = loss(problem.loss, outputs, hard)
    softened = loss(problem.loss, outputs / rule.temperature, soft)
    return rule.soft_share * rule.temperature**2 * softened + (1 - rule.soft_share) * plain


def objective_gradient(
    problem: Problem, row_gradient: Callable[[Loss, Any, Any], Any], outputs: Any, targets: Any
) -> Any:
    """Return each row's gradient of ``objective`` by its outputs, given that of a loss."""
    rule = problem.distillation
    if rule is None or problem.loss == "squared":
        return row_gradient(problem.loss, outputs, targets)
    hard, soft = targets[:, : problem.outputs], targets[:, problem.outputs :]
    plain = row_gradient(problem.loss, outputs, hard)
    softened = row_gradient(problem.loss, outputs / rule.temperature, soft)
    # One power of the temperature is spent on the outputs' own division by it.
    return rule.soft_share * rule.temperature * softened + (1 - rule.soft_share) * plain


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
    exceeds ``EXPLOSION`` times the greater of the first epoch's and 1. Targets have unit
    variance, so no training that learns comes near; what a few extreme rows do to the validation
    loss says nothing of the training and is no divergence as long as it is finite.
    """
    rows = len(train.features)
    if rows == 0:
        raise DataInvalid("the training part has no rows", code="no_training_rows")
    started = time.monotonic()
    stepper.stage(train, validation.features if validation else None)
    warnings = []
    if validation is None and spec.patience:
        warnings.append("no validation part: early stopping is off, every epoch is trained")
    train_losses: list[float] = []
    validation_losses: list[float] = []
    best, best_epoch, best_weights = math.inf, 0, stepper.weights()
    stopped: Stop | None = None
    kept = keeper.load(stepper.state()) if keeper else None
    if kept:
        stepper.load_state(kept.state)
        train_losses, validation_losses = list(kept.train), list(kept.validation)
        best_epoch, best_weights, stopped = kept.best_epoch, kept.best_weights, kept.stopped
        best = min(validation_losses, default=math.inf)
        started -= kept.seconds
        for _ in train_losses:
            order.permutation(rows)
    epoch = resumed = len(train_losses)
    while stopped is None:
        epoch += 1
        loss = stepper.epoch(order.permutation(rows))
        train_losses.append(checked_loss(loss, train_losses))
        if validation is None:
            best_epoch = epoch
        else:
            current = measure_loss(problem, stepper.validate(), validation)
            checked = checked_loss(current, validation_losses, kind="validation loss")
            validation_losses.append(checked)
            if current < best:
                best, best_epoch, best_weights = current, epoch, stepper.weights()
            elif spec.patience and epoch - best_epoch >= spec.patience:
                stopped = "early_stopping"
        if stopped is None and epoch == spec.epochs:
            stopped = "completed"
        used = time.monotonic() - started
        if stopped is None and used > seconds:
            stopped = "time_budget"
        if keeper and (stopped or keeper.is_due(epoch)):
            keeper.save(
                Progress(
                    state=stepper.state(),
                    best_weights=[] if validation is None else best_weights,
                    best_epoch=best_epoch,
                    train=tuple(train_losses),
                    validation=tuple(validation_losses),
                    seconds=used,
                    stopped=stopped,
                )
            )
    if validation is not None:
        stepper.load_weights(best_weights)
    return FitReport(
        epochs=len(train_losses),
        best_epoch=best_epoch,
        updates=len(train_losses) * math.ceil(rows / spec.batch_size),
        resumed_epochs=resumed,
        stopped=stopped,
        history=History(train=tuple(train_losses), validation=tuple(validation_losses)),
        warnings=tuple(warnings),
    )


def checked_loss(
    loss: float,
    earlier: Sequence[float],
    field: str = "model.optimizer.learning_rate",
    kind: Literal["loss", "validation loss"] = "loss",
) -> float:
    """Return an epoch's loss; raises TrainingDiverged where it is no number or has exploded.

    ``earlier`` are the losses of the epochs before, all of them good; ``field`` is the place of
    the learning rate. Any finite validation loss is good.
    """
    if not math.isfinite(loss):
        code, event = "loss_not_finite", f"the {kind} became {loss}"
    elif kind == "loss" and earlier and loss > EXPLOSION * max(earlier[0], 1.0):
        code, event = "loss_exploded", f"the loss exploded to {loss:.6g} from {earlier[0]:.6g}"
    else:
        return float(loss)
    last = f"the last good loss was {earlier[-1]:.6g}" if earlier else "no loss was good"
    raise TrainingDiverged(
        f"{event} in epoch {len(earlier) + 1}; {last}",
        code=code,
        field=field,
        expected="a finite loss that does not grow a millionfold",
        received=f"{loss:.6g}",
        remedy="lower the learning rate, or look for extreme values in the features",
    )
