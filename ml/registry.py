"""Find a framework's entry point by its name; the only dynamic import in ml."""

from __future__ import annotations

import importlib
from types import ModuleType

from ml.core.errors import RequestInvalid, Unavailable, describe
from ml.core.learner import Adapter, Peers

ENTRY_POINTS: dict[str, tuple[str, str, str]] = {
    "sklearn": ("ml.sklearn", "sklearn", "pip install 'pytest-mlmatrix[sklearn]'"),
    "pytorch": ("ml.pytorch", "torch", "pip install 'pytest-mlmatrix[torch]'"),
    "tensorflow": ("ml.tensorflow", "tensorflow", "pip install 'pytest-mlmatrix[tensorflow]'"),
    "jax": ("ml.jax", "jax", "pip install 'pytest-mlmatrix[jax]'"),
}


def entry_point(framework: str) -> ModuleType:
    """Import and return a framework's entry module.

    Raises RequestInvalid for an unknown name, and Unavailable with the pip line when the
    framework is not installed.
    """
    if framework not in ENTRY_POINTS:
        raise RequestInvalid(
            "there is no such framework",
            code="unknown_framework",
            field="framework",
            expected="one of " + ", ".join(ENTRY_POINTS),
            received=describe(framework),
        )
    module, library, install = ENTRY_POINTS[framework]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        if (problem.name or "").split(".")[0] != library:
            raise
        raise Unavailable(
            f"{framework} is not installed: there is no module {library!r}", remedy=install
        ) from None


def adapter_of(framework: str) -> Adapter:
    """Return a framework's adapter; raises as ``entry_point`` does."""
    adapter: Adapter = entry_point(framework).ADAPTER
    return adapter


PEERS = Peers(adapter_of, students=("pytorch", "tensorflow", "jax"))
