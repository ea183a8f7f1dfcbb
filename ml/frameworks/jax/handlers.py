"""Declare JAX to the rest of ml, and answer its requests."""

from __future__ import annotations

import os
from typing import Any

import jax

from ml.core.contracts import NetworkSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter
from ml.core.networks import network_factory
from ml.frameworks.jax.trainer import JaxStepper


def prepare() -> None:
    """Use one thread; parallelism comes from cells.

    XLA sizes its pool from NPROC, and reads it once, when JAX first looks for devices; its
    flag against threads in matrix products (xla_cpu_multi_thread_eigen) has no effect here.
    """
    given = os.environ.get("NPROC")
    os.environ["NPROC"] = "1"
    try:
        jax.devices()
    finally:
        if given is None:
            del os.environ["NPROC"]
        else:
            os.environ["NPROC"] = given


ADAPTER = Adapter(
    name="jax",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=network_factory(JaxStepper),
    prepare=prepare,
    versions=lambda: {"jax": jax.__version__},
    devices=lambda: tuple(f"{device.platform}:{device.id}" for device in jax.devices()),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with JAX; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell JAX's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
