"""Define where a cell runs: one protocol, and what an execution tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from harness.cell import Cell
from ml.core.contracts import Failure, TrainResult


@dataclass(frozen=True)
class Execution:
    """Hold a cell's response and the wall seconds that it took, start-up of a worker apart.

    ``lost`` are the attempts before, whose place was lost under them and not for the cell's sake.
    """

    response: TrainResult | Failure
    seconds: float
    lost: tuple[Failure, ...] = ()


class Executor(Protocol):
    """Run cells away from this process."""

    def submit(self, cells: Iterable[Cell]) -> None:
        """Take notice of cells that will be run, in their order; they may start at once."""

    def run(self, cell: Cell) -> Execution:
        """Run a cell and return its response; a dead or silent worker is a Failure too."""

    def close(self) -> None:
        """Stop every worker; nothing of them stays behind."""
