"""Declare the hooks by which a project extends the matrix, in a conftest.py or a plugin.

A conftest.py in the root folder or in a folder of tests given to pytest is read in time; one that
is found later is told so. An installed package is read by its entry point in the group pytest11.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.catalog.algorithms import Algorithm
    from harness.catalog.datasets import Dataset
    from harness.cell import Cell
    from harness.gates.judge import Gate
    from harness.store.record import Record


@pytest.hookspec
def pytest_matrix_datasets(config: pytest.Config) -> Sequence[Dataset | Path | str]:
    """Return further datasets: descriptor files, folders of them, or ``declare.dataset(…)``.

    A relative path is taken from the root folder.
    """
    raise NotImplementedError


@pytest.hookspec
def pytest_matrix_algorithms(config: pytest.Config) -> Sequence[Algorithm]:
    """Return further algorithms, each made by ``declare.algorithm(…)``."""
    raise NotImplementedError


@pytest.hookspec
def pytest_matrix_cells(config: pytest.Config, cells: list[Cell]) -> None:
    """Filter or order the cells of a test in place; called once for each test with the marker.

    A cell may be replaced by one of the same id (``dataclasses.replace``), as to raise its
    timeout. The order that is left here is kept; without this hook, the cells that took longest
    in earlier runs come first.
    """


@pytest.hookspec
def pytest_matrix_gates(config: pytest.Config) -> Sequence[Gate]:
    """Return further gates, each made by ``declare.gate(…)``; they judge every cell."""
    raise NotImplementedError


@pytest.hookspec
def pytest_matrix_record(config: pytest.Config, record: Record) -> None:
    """See each record once, when it is in the journal, in the process that ran the cell.

    What is raised here fails the test; the record is kept.
    """
