"""Declare JAX to the rest of ml, and answer its requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import jax
from jax._src import xla_bridge

from ml.core.cohort import NetworkCohort, count_at_once
from ml.core.contracts import NetworkSpec, RuntimeSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter, fixed_at_start, no_such_device
from ml.core.networks import network_factory
from ml.frameworks.jax.grouping import TOGETHER
from ml.frameworks.jax.trainer import JaxStepper

DETERMINISTIC_FLAG = "--xla_gpu_deterministic_ops=true"


@dataclass(frozen=True)
class Start:
    """Remember how JAX was started in this process, for it does not tell."""

    threads: int
    deterministic: bool
    cpu_only: bool


_starts: list[Start] = []


def prepare(runtime: RuntimeSpec) -> None:
    """Set the device, and threads and determinism where JAX has not started yet."""
    if not _starts:
        _starts.append(_find_start() if _has_started() else _start(runtime))
    start = _starts[0]
    if start.cpu_only and runtime.device != "cpu":
        raise fixed_at_start("JAX", "device", "cpu", runtime.device)
    cards = _cards()
    if runtime.device == "cuda" and not cards:
        raise no_such_device("JAX", _devices(), "install JAX for CUDA")
    chosen = {"auto": None, "cpu": jax.devices("cpu")[0], "cuda": next(iter(cards), None)}
    jax.config.update("jax_default_device", chosen[runtime.device])
    if runtime.threads != start.threads:
        raise fixed_at_start("JAX", "threads", str(start.threads), runtime.threads)
    if runtime.deterministic and not start.deterministic and _device() != "cpu":
        raise fixed_at_start("JAX", "deterministic", "False", True)


def _start(runtime: RuntimeSpec) -> Start:
    """Let JAX look for its devices, which fixes its threads.

    XLA sizes its pool from NPROC, and reads it then; its flag against threads in matrix
    products (xla_cpu_multi_thread_eigen) has no effect here.
    """
    # Only what is installed as a plugin can be an accelerator; without one, nothing is at stake.
    plugins = bool(entry_points(group="jax_plugins"))
    cpu_only = plugins and runtime.device == "cpu"
    if cpu_only:
        jax.config.update("jax_platforms", "cpu")
    elif plugins and runtime.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_FLAG}".strip()
    # It would take most of a card's memory, which the other frameworks' workers share.
    preallocate = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with _environment(NPROC=str(runtime.threads), XLA_PYTHON_CLIENT_PREALLOCATE=preallocate):
        jax.devices()
    return Start(runtime.threads, runtime.deterministic, cpu_only)


def _has_started() -> bool:
    return bool(xla_bridge.backends_are_initialized())


def _find_start() -> Start:
    """Return how JAX starts when nobody sets it up: by the environment, else a thread a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("NPROC", "")
    return Start(
        threads=int(threads) if threads.isdecimal() else cores or 1,
        deterministic=DETERMINISTIC_FLAG in os.environ.get("XLA_FLAGS", ""),
        cpu_only=False,
    )


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cards() -> list[Any]:
    try:
        return list(jax.devices("gpu"))
    except RuntimeError:  # JAX's word for a platform that it does not have
        return []


def _devices() -> tuple[str, ...]:
    found = (*jax.devices("cpu"), *jax.devices())
    return tuple(dict.fromkeys(_name(device) for device in found))


def _device() -> str:
    return _name(jax.config.jax_default_device or jax.devices()[0])


def _name(device: Any) -> str:
    if device.platform == "cpu":
        return "cpu"
    return f"{'cuda' if device.platform == 'gpu' else device.platform}:{device.id}"


_make_learner = network_factory(JaxStepper)

ADAPTER = Adapter(
    name="jax",
    accepts=NetworkSpec,
    uses_validation=True,
    suffix=".safetensors",
    make_learner=_make_learner,
    prepare=prepare,
    versions=lambda: {"jax": jax.__version__},
    devices=_devices,
    device=_device,
    open_cohort=partial(NetworkCohort, _make_learner, TOGETHER),
    models_at_once=partial(count_at_once, TOGETHER),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a network with JAX; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell JAX's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
