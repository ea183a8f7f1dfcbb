"""Compute what every compiled optimiser shares: its rates, and what a compiled epoch depends on."""

from __future__ import annotations

import numpy as np

from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.learner import Floats32

# Rows are counted in int32 in compiled code, so a batch beyond that is only "all of them".
LARGEST_BATCH = 2**30


def compiled_form(spec: NetworkSpec) -> NetworkSpec:
    """Return the spec without what a compiled epoch does not depend on.

    Epochs and patience belong to the loop; learning rate and epsilon reach it as data. Specs
    that differ in these alone share one form, and so one compilation.
    """
    optimizer = spec.optimizer.model_copy(update={"learning_rate": 1.0, "epsilon": 1.0})
    batch = min(spec.batch_size, LARGEST_BATCH)
    shared = {"optimizer": optimizer, "batch_size": batch, "epochs": 1, "patience": 0}
    return spec.model_copy(update=shared)


def update_rates(optimizer: OptimizerSpec, done: int, updates: int) -> tuple[Floats32, Floats32]:
    """Return the learning rate and epsilon of the updates after ``done``, float32 [updates].

    Adam's bias corrections (Kingma and Ba 2015) are computed here in float64, from the betas as
    float32 holds them, and folded into both: ``rate * first / (sqrt(second) + epsilon)`` then
    places epsilon where PyTorch places it, outside the root of the corrected second moment.
    """
    steps = np.arange(done + 1, done + updates + 1, dtype=np.float64)
    # A rate beyond float32 becomes infinite here, and a divergence in the loop.
    with np.errstate(over="ignore"):
        if optimizer.name == "sgd":
            rate = np.full(updates, optimizer.learning_rate, np.float32)
            return rate, np.zeros(updates, np.float32)
        first = 1 - float(np.float32(optimizer.beta1)) ** steps
        second = np.sqrt(1 - float(np.float32(optimizer.beta2)) ** steps)
        rate = (optimizer.learning_rate * second / first).astype(np.float32)
        return rate, (optimizer.epsilon * second).astype(np.float32)
