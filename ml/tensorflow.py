"""Answer requests with TensorFlow: payload in, response out, both plain JSON objects."""

from __future__ import annotations

from typing import Any

from ml.core.handling import handle_distill, handle_sweep
from ml.frameworks.tensorflow.handlers import ADAPTER, handle_status_request, handle_train_request
from ml.registry import PEERS


def handle_distill_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a student with TensorFlow, from teachers of any framework; see ``ml.core.handling``."""
    return handle_distill(payload, ADAPTER, PEERS)


def handle_sweep_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tune a network of TensorFlow; see ``ml.core.handling.handle_sweep``."""
    return handle_sweep(payload, ADAPTER)


__all__ = [
    "ADAPTER",
    "handle_distill_request",
    "handle_status_request",
    "handle_sweep_request",
    "handle_train_request",
]
