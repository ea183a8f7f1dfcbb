"""Say what a network minimises: examples, the loss over rows, and when a loss is no good."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from ml.core.errors import TrainingDiverged
from ml.core.learner import Floats32, Loss, Problem
from ml.core.ops import NUMPY, row_loss

EXPLOSION = 1e6


@dataclass(frozen=True)
class Examples:
    """Hold rows as a network learns them: features [n, inputs] and targets for ``objective``.

    Targets are [n, outputs], or for a student that learns classes [n, 2 · outputs]. ``weights``
    [n] are those of the rows in the loss, 1 for each where it is None. All are float32.
    """

    features: Floats32
    targets: Floats32
    weights: Floats32 | None = None


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
    return _mix(problem, loss, outputs, targets, power=2)


def objective_gradient(
    problem: Problem, row_gradient: Callable[[Loss, Any, Any], Any], outputs: Any, targets: Any
) -> Any:
    """Return each row's gradient of ``objective`` by its outputs, given that of a loss."""
    # One power of the temperature is spent on the outputs' own division by it.
    return _mix(problem, row_gradient, outputs, targets, power=1)


def _mix(
    problem: Problem,
    measure: Callable[[Loss, Any, Any], Any],
    outputs: Any,
    targets: Any,
    power: int,
) -> Any:
    """Return a loss or its gradient, mixed for a student by this power of the temperature."""
    rule = problem.distillation
    if rule is None or problem.loss == "squared":
        return measure(problem.loss, outputs, targets)
    hard, soft = targets[..., : problem.outputs], targets[..., problem.outputs :]
    plain = measure(problem.loss, outputs, hard)
    softened = measure(problem.loss, outputs / rule.temperature, soft)
    return rule.soft_share * rule.temperature**power * softened + (1 - rule.soft_share) * plain


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
    problem = TrainingDiverged(
        f"{event} in epoch {len(earlier) + 1}; {last}",
        code=code,
        field=field,
        expected="a finite loss that does not grow a millionfold",
        received=f"{loss:.6g}",
        remedy="lower the learning rate, or look for extreme values in the features",
    )
    problem.epoch = len(earlier) + 1
    raise problem
