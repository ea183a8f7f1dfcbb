"""Make the cells: every dataset × algorithm × framework × mode that can be, and that is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.catalog.algorithms import ALGORITHMS, TASKS, Algorithm
from harness.catalog.datasets import OWN_FOLDER, BrokenDataset, Dataset, find_datasets
from harness.catalog.frameworks import FRAMEWORKS
from harness.cell import Cell
from harness.markers import MatrixMarker, check_names
from harness.options import Settings
from ml.core.contracts import Budget, SweepSpec


@dataclass(frozen=True)
class Catalog:
    """Hold the datasets and algorithms of this session, and the descriptors that are broken."""

    datasets: tuple[Dataset, ...]
    broken: tuple[BrokenDataset, ...]
    algorithms: tuple[Algorithm, ...]

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Return the names that each argument of the matrix marker may take."""
        modes = dict.fromkeys(mode for entry in self.algorithms for mode in entry.all_modes)
        return {
            "task": TASKS,
            "mode": tuple(modes),
            "framework": tuple(FRAMEWORKS),
            "dataset": tuple(dataset.id for dataset in self.datasets),
            "algorithm": tuple(dict.fromkeys(entry.id for entry in self.algorithms)),
        }

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Return ``choices``, and for the datasets also the files of broken descriptors."""
        broken = tuple(entry.path.stem for entry in self.broken)
        return {**self.choices, "dataset": self.choices["dataset"] + broken}


def load_catalog(
    settings: Settings,
    places: Iterable[Path] = (),
    datasets: Iterable[Dataset] = (),
    algorithms: Iterable[Algorithm] = (),
) -> Catalog:
    """Return our own catalog with the datasets of the settings' folders and what is given.

    ``places`` are folders of descriptors, or single ones. Raises ValueError for an algorithm or
    a declared dataset whose name is taken.
    """
    found, broken = find_datasets((OWN_FOLDER, *settings.data, *places), datasets)
    everything = list(ALGORITHMS)
    for entry in algorithms:
        for earlier in everything:
            same = (earlier.id, earlier.framework) == (entry.id, entry.framework)
            if same and {*earlier.modes} & {*entry.modes} and {*earlier.tasks} & {*entry.tasks}:
                raise ValueError(
                    f"algorithm {entry.id!r} of {entry.framework} is there already, for "
                    f"{' and '.join(earlier.tasks)}; give it another id"
                )
        everything.append(entry)
    return Catalog(tuple(found), tuple(broken), tuple(everything))


def select_cells(catalog: Catalog, marker: MatrixMarker, settings: Settings) -> list[Cell]:
    """Return the marker's cells, dataset by dataset; raises ValueError where there are none.

    Sweeps are among them only where the marker names their mode, since each is many trainings.
    A marker may name a descriptor that is broken, by its file: it has no cells, and its reason is
    what the reader needs.
    """
    check_names(marker, catalog.names)
    cells = list(_product(catalog, marker, settings))
    if not cells and not any(entry.path.stem in marker.dataset for entry in catalog.broken):
        raise ValueError(
            f"{marker} matches no cell: no dataset of these has an algorithm for its task in "
            "these frameworks and modes; widen the marker's arguments"
        )
    return cells


def _product(catalog: Catalog, marker: MatrixMarker, settings: Settings) -> Iterator[Cell]:
    asked = [
        (entry, _budget(entry, settings))
        for entry in catalog.algorithms
        if _asked(marker.algorithm, entry.id) and _asked(marker.framework, entry.framework)
    ]
    for dataset in catalog.datasets:
        task = dataset.task
        if not _asked(marker.dataset, dataset.id) or not _asked(marker.task, task):
            continue
        for entry, budget in asked:
            if task not in entry.tasks:
                continue
            for mode in entry.all_modes if marker.mode else entry.modes:
                if _asked(marker.mode, mode):
                    yield Cell(
                        dataset=dataset.id,
                        algorithm=entry.id,
                        framework=entry.framework,
                        mode=mode,
                        task=task,
                        data=dataset.data,
                        model=entry.model,
                        preprocessing=entry.preprocessing,
                        budget=budget,
                        replicates=settings.replicates,
                        timeout=settings.timeout,
                        is_baseline=entry.is_baseline,
                        expected_failures=(*dataset.expected_failures, *entry.expected_failures),
                        teachers=entry.teachers,
                        runtime=settings.runtime,
                        resources=entry.resources,
                        sweep=_sweep(entry, settings) if mode == "sweep" else None,
                    )


def _budget(entry: Algorithm, settings: Settings) -> Budget:
    rows = min(settings.rows, entry.rows or settings.rows)
    return Budget(rows=rows, seconds=settings.seconds)


def _sweep(entry: Algorithm, settings: Settings) -> SweepSpec:
    assert entry.space is not None
    return SweepSpec.model_validate(
        {
            "space": entry.space,
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "trials": settings.trials,
            "folds": settings.folds,
            "seconds": settings.sweep_seconds,
        }
    )


def _asked(names: tuple[str, ...], name: str) -> bool:
    return not names or name in names


def entry_of(item: pytest.Item) -> Cell | BrokenDataset | None:
    """Return the cell that an item runs, or the broken descriptor that it reports."""
    callspec = getattr(item, "callspec", None)
    entry = callspec.params.get("cell") if callspec else None
    return entry if isinstance(entry, Cell | BrokenDataset) else None
