"""Declare TensorFlow to the rest of ml, and answer its requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import tensorflow as tf

from ml.core.cohort import NetworkCohort
from ml.core.contracts import NetworkSpec, RuntimeSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter, fixed_at_start, no_such_device
from ml.core.networks import network_factory
from ml.frameworks.tensorflow.trainer import TensorFlowStepper, use_compilation


def prepare(runtime: RuntimeSpec) -> None:
    """Set determinism, device and threads; TensorFlow fixes the latter two when it starts.

    Determinism stays on once it is: TensorFlow has no way back, and equal numbers are always
    allowed.
    """
    cards = tf.config.list_physical_devices("GPU")
    if runtime.device == "cuda" and not cards:
        raise no_such_device("TensorFlow", _devices(), "install a build of TensorFlow for CUDA")
    if runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    # Products would be rounded to 10 bits otherwise, in this framework and no other.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    used = [] if runtime.device == "cpu" else cards[:1]
    for card in used:
        # It would take a card's whole memory, which the other frameworks' workers share.
        with suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(card, True)
    use_compilation(runtime.compilation)
    # It warns that graphs are traced again, though each form and shape is traced once here.
    tf.get_logger().setLevel("ERROR")
    _set("device", _device, runtime.device, lambda: tf.config.set_visible_devices(used, "GPU"))
    _set("threads", _threads, runtime.threads, lambda: _set_threads(runtime.threads))


def _set(key: str, now: Callable[[], object], asked: object, change: Callable[[], None]) -> None:
    try:
        change()
    except RuntimeError:
        raise fixed_at_start("TensorFlow", key, str(now()), asked) from None


def _set_threads(count: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(count)
    # An epoch is one chain of operations, of which no two can run at once.
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _threads() -> int | str:
    # TensorFlow's word for its own choice, one a core, is 0.
    return tf.config.threading.get_intra_op_parallelism_threads() or "TensorFlow's own choice"


def _devices() -> tuple[str, ...]:
    return tuple(_name(device) for device in tf.config.list_physical_devices())


def _device() -> str:
    cards = tf.config.get_visible_devices("GPU")
    return _name(cards[0]) if cards else "cpu"


def _name(device: Any) -> str:
    number = device.name.rpartition(":")[2]
    return "cpu" if device.device_type == "CPU" else f"cuda:{number}"


_make_learner = network_factory(TensorFlowStepper)

ADAPTER = Adapter(
    name="tensorflow",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=_make_learner,
    prepare=prepare,
    versions=lambda: {"tensorflow": tf.__version__},
    devices=_devices,
    device=_device,
    open_cohort=partial(NetworkCohort, _make_learner, None),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with TensorFlow; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell TensorFlow's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
