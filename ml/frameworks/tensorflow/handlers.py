"""Declare TensorFlow to the rest of ml, and answer its requests."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ml.core.contracts import NetworkSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter
from ml.core.networks import network_factory
from ml.frameworks.tensorflow.trainer import TensorFlowStepper


def prepare() -> None:
    """Use one thread and deterministic kernels; parallelism comes from cells."""
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()


def _devices() -> tuple[str, ...]:
    found = tf.config.list_physical_devices()
    return tuple(device.name.removeprefix("/physical_device:").lower() for device in found)


ADAPTER = Adapter(
    name="tensorflow",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=network_factory(TensorFlowStepper),
    prepare=prepare,
    versions=lambda: {"tensorflow": tf.__version__},
    devices=_devices,
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with TensorFlow; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell TensorFlow's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
