"""Say what a network minimises: examples, the loss over rows, and when a loss is no good."""

from __future__ import annotations

import itertools
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


@dataclass(frozen=True)
class Measured:
    """Hold raw outputs [n, outputs] for examples, of which the objective is to be measured."""

    problem: Problem
    outputs: Floats32
    examples: Examples

    @property
    def is_plain(self) -> bool:
        """Tell whether the objective is the mean of the rows' losses."""
        rule = self.problem.distillation
        alike = rule is None or self.problem.loss == "squared"
        return alike and self.examples.weights is None


def measure_losses(measured: Sequence[Measured]) -> list[float]:
    """Return the objective of each over its rows with their weights, as ``mean_loss`` does.

    Those of one loss are computed at once, each to the bit as if it were alone.
    """
    losses = {each.problem.loss for each in measured}
    if len(measured) < 2 or len(losses) > 1 or not all(each.is_plain for each in measured):
        return [_measure_loss(each) for each in measured]
    parts = [(each.outputs, each.examples.targets) for each in measured]
    outputs, targets = (
        np.concatenate(arrays, dtype=np.float64) for arrays in zip(*parts, strict=True)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        rows = row_loss(NUMPY, losses.pop(), outputs, targets)
    ends = itertools.accumulate(len(each.outputs) for each in measured)
    own = (rows[end - len(one.outputs) : end] for one, end in zip(measured, ends, strict=True))
    return [float(part.sum() / len(part)) for part in own]


def _measure_loss(measured: Measured) -> float:
    problem, outputs, examples = measured.problem, measured.outputs, measured.examples
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
