"""Declare PyTorch to the rest of ml, and answer its requests."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch

from ml.core.cohort import NetworkCohort, count_at_once
from ml.core.contracts import NetworkSpec, RuntimeSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter, no_such_device
from ml.core.networks import network_factory
from ml.frameworks.pytorch.data import device_in_use, use_device
from ml.frameworks.pytorch.grouping import TOGETHER
from ml.frameworks.pytorch.trainer import make_stepper


def prepare(runtime: RuntimeSpec) -> None:
    """Set device, threads and determinism; all of it can be changed between requests."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise no_such_device("PyTorch", _devices(), "install a build of PyTorch for CUDA")
    if runtime.deterministic:
        # cuBLAS gives equal sums with a workspace of fixed size only, and refuses otherwise.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cuda = runtime.device != "cpu" and torch.cuda.is_available()
    use_device("cuda:0" if cuda else "cpu")
    torch.set_num_threads(runtime.threads)
    # The same switch as use_deterministic_algorithms, which imports the compiler for it: a second.
    torch.set_deterministic_debug_mode("error" if runtime.deterministic else "default")
    # Convolutions would be rounded to 10 bits otherwise, in this framework and no other.
    torch.backends.cudnn.allow_tf32 = False


def _devices() -> tuple[str, ...]:
    return ("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())))


_make_learner = network_factory(make_stepper)

ADAPTER = Adapter(
    name="pytorch",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=_make_learner,
    prepare=prepare,
    versions=lambda: {"torch": torch.__version__},
    devices=_devices,
    device=device_in_use,
    open_cohort=partial(NetworkCohort, _make_learner, TOGETHER),
    models_at_once=partial(count_at_once, TOGETHER),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with PyTorch; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell PyTorch's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
