"""Say which networks PyTorch computes as one, and how many of them are worth it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from ml.core.architectures import declare
from ml.core.cohort import Together
from ml.core.learner import Member
from ml.core.networks import Start
from ml.frameworks.pytorch.dense import dropped_widths, is_dense
from ml.frameworks.pytorch.together import DenseSteppers

# Bounds of what is worth it, found by benchmarks/many_models.py: of the floats that a step
# touches, of those that are staged, and of the models.
NEAR_FLOATS = 3 * 2**18
STAGED_FLOATS = 2**26
MOST = 16


def shape_of(member: Member) -> Hashable:
    """Return what members have in common that can be one computation, None for other networks.

    They may differ in seeds, rows, optimiser, schedule, epochs, patience, the rate of dropout,
    and in a student's temperature and share of soft targets.
    """
    spec, problem, rows = member.spec, member.problem, member.train.rows
    if not is_dense(spec) or rows == 0:
        return None
    rule = problem.distillation
    return (
        (spec.hidden, spec.activation) if spec.architecture == "mlp" else None,
        (problem.inputs, problem.classes, rule is not None and rule.soft_share > 0),
        (spec.batch_size, math.ceil(rows / spec.batch_size)),
        (spec.class_weight, bool(dropped_widths(spec))),
    )


def pays(member: Member) -> int:
    """Return how many models of a member's shape are worth to be computed as one.

    What is saved is the time between the products, and it is lost again where the models'
    weights and signals no longer stay near the processor: benchmarks/many_models.py measures it.
    """
    spec, rows = member.spec, member.train.rows
    hidden = sum(spec.hidden) if spec.architecture == "mlp" else 0
    weights = sum(math.prod(weight.shape) for weight in declare(spec, member.problem))
    signals = min(spec.batch_size, rows) * (member.problem.inputs + 2 * hidden)
    near = NEAR_FLOATS // (5 * weights + signals)
    staged = STAGED_FLOATS // (rows * (member.problem.inputs + 1))
    return max(min(near, staged, MOST), 1)


def open_steppers(starts: Mapping[int, Start]) -> DenseSteppers:
    """Return the steppers of members of one shape, with their rows staged."""
    models = {index: (s.spec, s.problem, s.weights, s.seed) for index, s in starts.items()}
    steppers = DenseSteppers(models)
    held = {i: s.validation.features if s.validation else None for i, s in starts.items()}
    steppers.stage({index: start.train for index, start in starts.items()}, held)
    return steppers


TOGETHER = Together(shape_of, pays, open_steppers)
