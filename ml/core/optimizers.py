"""Compute what every optimiser shares: its rates from update to update, and a compiled form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.learner import Floats32, Floats64
from ml.core.ops import step_keys
from ml.core.specs import NetworkSpec, ScheduleSpec

# Rows are counted in int32 in compiled code, so a batch beyond that is only "all of them".
LARGEST_BATCH = 2**30


@dataclass(frozen=True)
class Updates:
    """Hold what changes from update to update: float32 [updates], and int32 keys to drop by.

    ``learning_rate`` follows the schedule. ``rate`` and ``epsilon`` have Adam's bias corrections
    (Kingma and Ba 2015) folded in, computed in float64 from the betas as float32 holds them:
    ``rate * first / (sqrt(second) + epsilon)`` then places epsilon where PyTorch places it,
    outside the root of the corrected second moment. ``shrink`` is AdamW's: what the weights are
    multiplied by before the update. ``keys`` are zeros where nothing is dropped.
    """

    learning_rate: Floats32
    rate: Floats32
    epsilon: Floats32
    shrink: Floats32
    keys: NDArray[np.int32]


def compiled_form(spec: NetworkSpec) -> NetworkSpec:
    """Return the spec without what a compiled epoch does not depend on.

    Epochs, schedule, class weights and patience belong to the loop; learning rate and epsilon
    reach the epoch as data. Specs that differ in these alone share one form, and so one
    compilation.
    """
    optimizer = spec.optimizer.model_copy(update={"learning_rate": 1.0, "epsilon": 1.0})
    shared: dict[str, Any] = {
        "optimizer": optimizer,
        "schedule": ScheduleSpec(),
        "class_weight": "none",
        "batch_size": min(spec.batch_size, LARGEST_BATCH),
        "epochs": 1,
        "patience": 0,
    }
    return spec.model_copy(update=shared)


def schedule_shares(spec: NetworkSpec, steps: Floats64, per_epoch: int) -> Floats64:
    """Return the share of the learning rate in these updates, counted from 1.

    The warm-up counts an update's end, so that the first one moves; the rest counts its start.
    """
    schedule = spec.schedule
    if schedule.name == "constant" and not schedule.warmup:
        return np.ones_like(steps)
    rising = np.minimum(steps / per_epoch / schedule.warmup, 1.0) if schedule.warmup else 1.0
    time = (steps - 1) / per_epoch
    way = np.clip((time - schedule.warmup) / max(spec.epochs - schedule.warmup, 1e-9), 0.0, 1.0)
    falling = np.ones_like(time)
    if schedule.name == "cosine":
        falling = schedule.final + (1 - schedule.final) * 0.5 * (1 + np.cos(np.pi * way))
    elif schedule.name == "linear":
        falling = 1 - (1 - schedule.final) * way
    elif schedule.name == "exponential":
        falling = schedule.final**way
    elif schedule.name == "step":
        falling = schedule.factor ** np.floor(time / schedule.every)
    return np.asarray(rising * falling)


def plan_rates(spec: NetworkSpec, done: int, updates: int, per_epoch: int) -> Floats32:
    """Return the learning rates of the updates after ``done``, ``per_epoch`` being an epoch."""
    if spec.schedule.name == "constant" and not spec.schedule.warmup:
        shares = np.ones(updates)
    else:
        steps = np.arange(done + 1, done + updates + 1, dtype=np.float64)
        shares = schedule_shares(spec, steps, per_epoch)
    # A rate beyond float32 becomes infinite here, and a divergence in the loop.
    with np.errstate(over="ignore"):
        return (spec.optimizer.learning_rate * shares).astype(np.float32)


def plan_updates(spec: NetworkSpec, done: int, updates: int, per_epoch: int, seed: int) -> Updates:
    """Return what the updates after ``done`` need, ``per_epoch`` of them being an epoch."""
    optimizer = spec.optimizer
    steps = np.arange(done + 1, done + updates + 1, dtype=np.float64)
    shares = schedule_shares(spec, steps, per_epoch)
    # A rate beyond float32 becomes infinite here, and a divergence in the loop.
    with np.errstate(over="ignore"):
        learning_rate = optimizer.learning_rate * shares
        rate, epsilon = learning_rate, np.zeros(updates)
        if optimizer.name != "sgd":
            first = 1 - float(np.float32(optimizer.beta1)) ** steps
            second = np.sqrt(1 - float(np.float32(optimizer.beta2)) ** steps)
            rate, epsilon = learning_rate * second / first, optimizer.epsilon * second
        decay = optimizer.weight_decay if optimizer.name == "adamw" else 0.0
        return Updates(
            learning_rate=learning_rate.astype(np.float32),
            rate=rate.astype(np.float32),
            epsilon=epsilon.astype(np.float32),
            shrink=(1 - learning_rate * decay).astype(np.float32),
            keys=step_keys(seed, done, updates) if spec.dropout else np.zeros(updates, np.int32),
        )
