"""List the frameworks: which module tells that one is installed, and how to install it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from ml.core.contracts import Framework


@dataclass(frozen=True)
class FrameworkEntry:
    """Name a framework's top module and the pip line that installs it."""

    module: str
    install: str

    @property
    def missing(self) -> str | None:
        """Return why the framework cannot run and what helps, None when it is installed."""
        if find_spec(self.module) is not None:
            return None
        return f"the module {self.module!r} is not installed; run: {self.install}"


FRAMEWORKS: dict[Framework, FrameworkEntry] = {
    "sklearn": FrameworkEntry("sklearn", "pip install 'pytest-mlmatrix[sklearn]'"),
    "pytorch": FrameworkEntry("torch", "pip install 'pytest-mlmatrix[torch]'"),
    "tensorflow": FrameworkEntry("tensorflow", "pip install 'pytest-mlmatrix[tensorflow]'"),
}
