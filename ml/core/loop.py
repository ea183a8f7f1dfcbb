"""Run the only epoch loop: row order, early stopping, history and the time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import History, NetworkSpec
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.learner import FitReport, Floats32, Loss, Problem, Stop

EXPLOSION = 1e6


class Stepper(Protocol):
    """Take gradient steps in one framework; the loop decides everything else."""

    def stage(self, features: Floats32, targets: Floats32) -> None:
        """Hand over the training rows once: features [n, inputs], and targets for ``objective``.

        Targets are [n, outputs], or for a student that learns classes [n, 2 · outputs].
        """

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows.

        The last batch may be smaller; each batch's gradient is the mean over its own rows.
        """

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]: logits or values."""

    def weights(self) -> list[Floats32]:
        """Return copies of the weights, in the order in which they were given."""

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""


def mean_loss(loss: Loss, outputs: Floats32, targets: Floats32) -> float:
    """Return the mean loss over rows, in float64, alike for every framework.

    ``outputs`` and ``targets`` are [n, outputs]. ``softmax`` takes targets that sum to one,
    ``squared`` is half the squared error, so that its gradient is the error itself.
    """
    raw, wanted = outputs.astype(np.float64), targets.astype(np.float64)
    # Outputs that are no numbers give a loss that is none, which the loop reports.
    with np.errstate(over="ignore", invalid="ignore"):
        if loss == "binary":
            return float(np.mean(np.logaddexp(0.0, raw) - wanted * raw))
        if loss == "softmax":
            highest = raw.max(axis=1, keepdims=True)
            normalizer = highest + np.log(np.exp(raw - highest).sum(axis=1, keepdims=True))
            return float(np.mean(-((raw - normalizer) * wanted).sum(axis=1)))
        return float(np.mean(0.5 * (raw - wanted) ** 2))


def objective(
    problem: Problem, loss: Callable[[Loss, Any, Any], Any], outputs: Any, targets: Any
) -> Any:
    """Return what is minimised, of any framework's arrays, given its loss of a batch.

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
    train: tuple[Floats32, Floats32],
    validation: tuple[Floats32, Floats32] | None,
    spec: NetworkSpec,
    problem: Problem,
    order: np.random.Generator,
    seconds: float,
) -> FitReport:
    """Train until the epochs, the patience or the seconds are used up; keep the best weights.

    ``train`` and ``validation`` are features and targets. At least one epoch is run whatever
    the time. Raises DataInvalid for an empty training part and TrainingDiverged, with the
    epoch and the last good loss, as soon as a loss is not a finite number or the training
    loss explodes: it exceeds ``EXPLOSION`` times the greater of the first epoch's and 1. Targets
    have unit variance, so no training that learns comes near; what a few extreme rows do to the
    validation loss says nothing of the training and is no divergence as long as it is finite.
    """
    features, targets = train
    rows = int(features.shape[0])
    if rows == 0:
        raise DataInvalid("the training part has no rows", code="no_training_rows")
    started = time.monotonic()
    stepper.stage(features, targets)
    warnings = []
    if validation is None and spec.patience:
        warnings.append("no validation part: early stopping is off, every epoch is trained")
    train_losses: list[float] = []
    validation_losses: list[float] = []
    best, best_epoch, best_weights = math.inf, 0, stepper.weights()
    stopped: Stop = "completed"
    for epoch in range(1, spec.epochs + 1):
        loss = stepper.epoch(order.permutation(rows))
        train_losses.append(checked_loss(loss, train_losses))
        if validation is None:
            best_epoch = epoch
        else:
            outputs = stepper.predict(validation[0])
            current = objective(problem, mean_loss, outputs, validation[1])
            checked = checked_loss(current, validation_losses, kind="validation loss")
            validation_losses.append(checked)
            if current < best:
                best, best_epoch, best_weights = current, epoch, stepper.weights()
            elif spec.patience and epoch - best_epoch >= spec.patience:
                stopped = "early_stopping"
                break
        if epoch < spec.epochs and time.monotonic() - started > seconds:
            stopped = "time_budget"
            break
    if validation is not None:
        stepper.load_weights(best_weights)
    return FitReport(
        epochs=len(train_losses),
        best_epoch=best_epoch,
        updates=len(train_losses) * math.ceil(rows / spec.batch_size),
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
