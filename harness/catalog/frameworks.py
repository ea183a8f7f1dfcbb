"""List the frameworks: which module tells that one is installed, and how to install it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from harness.markers import near_miss
from ml.core.contracts import Framework


@dataclass(frozen=True)
class FrameworkEntry:
    """Name the top module of a framework, or of another library, and the pip line for it."""

    module: str
    install: str

    @property
    def missing(self) -> str | None:
        """Return why it cannot run and what helps, None when it is installed."""
        if find_spec(self.module) is not None:
            return None
        return f"the module {self.module!r} is not installed; run: {self.install}"


FRAMEWORKS: dict[Framework, FrameworkEntry] = {
    "sklearn": FrameworkEntry("sklearn", "pip install 'pytest-mlmatrix[sklearn]'"),
    "pytorch": FrameworkEntry("torch", "pip install 'pytest-mlmatrix[torch]'"),
    "tensorflow": FrameworkEntry("tensorflow", "pip install 'pytest-mlmatrix[tensorflow]'"),
    "jax": FrameworkEntry("jax", "pip install 'pytest-mlmatrix[jax]'"),
}
# What every sweep needs beside its framework.
SEARCH = FrameworkEntry("optuna", "pip install 'pytest-mlmatrix[sweep]'")


def check_required(names: Iterable[str]) -> None:
    """Raise ValueError for a required framework that there is none of, naming the choices."""
    for name in names:
        if name not in FRAMEWORKS:
            raise ValueError(
                f"--matrix-require / matrix_require: there is no framework {name!r}"
                f"{near_miss(name, FRAMEWORKS)}; choose from {', '.join(FRAMEWORKS)}"
            )
