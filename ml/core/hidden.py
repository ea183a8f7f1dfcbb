"""Import a library without the large ones that it would import along, for nothing used here."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class Hidden(MetaPathFinder):
    """Let a module that is not imported yet seem not to be installed, within a block."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse the module, and leave all others to the next finder."""
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *problem: object) -> None:
        sys.meta_path.remove(self)
