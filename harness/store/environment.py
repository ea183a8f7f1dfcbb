"""Describe where a run happens: commit, machine and package versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from harness.store.journal import now
from harness.store.record import Head, Resumed
from ml.core.contracts import RuntimeSpec

PACKAGES = (
    "pytest-mlmatrix",
    "numpy",
    "pandas",
    "scikit-learn",
    "torch",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "jaxlib",
    "pytest",
    "pytest-xdist",
    "ray",
    "optuna",
    "pydantic",
    "safetensors",
    "skops",
)


def describe_run(
    run: str,
    root: Path,
    command: tuple[str, ...],
    runtime: RuntimeSpec,
    executor: str = "local",
    cluster: Mapping[str, float] | None = None,
) -> Head:
    """Return the head of a journal for a run that starts now in ``root``."""
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    return Head(
        run=run,
        started=now(),
        command=command,
        git_commit=_git(root, "rev-parse", "HEAD"),
        git_branch=_git(root, "rev-parse", "--abbrev-ref", "HEAD"),
        git_dirty=None if status is None else bool(status),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=processor(),
        cores=cores(),
        memory_bytes=psutil.virtual_memory().total,
        threads_per_worker=runtime.threads,
        runtime=runtime,
        executor=executor,
        cluster=dict(cluster or {}),
        packages={name: found for name in PACKAGES if (found := _version(name))},
    )


def describe_resumption(root: Path, command: tuple[str, ...]) -> Resumed:
    """Return the line that says that a session in ``root`` goes on with a run now."""
    return Resumed(started=now(), command=command, git_commit=_git(root, "rev-parse", "HEAD"))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's model."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def accelerators() -> list[str]:
    """Return the models of the graphics processors that the machine shows, without a framework."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    # A container may show the devices alone.
    return found or [path.name for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
