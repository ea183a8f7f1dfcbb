"""Declare PyTorch to the rest of ml, and answer its requests."""

from __future__ import annotations

from typing import Any

import torch

from ml.core.contracts import NetworkSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter
from ml.core.networks import network_factory
from ml.frameworks.pytorch.trainer import TorchStepper


def prepare() -> None:
    """Use one thread and deterministic algorithms; parallelism comes from cells."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


ADAPTER = Adapter(
    name="pytorch",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=network_factory(TorchStepper),
    prepare=prepare,
    versions=lambda: {"torch": torch.__version__},
    devices=lambda: ("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with PyTorch; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell PyTorch's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
