"""Gather what a project's hooks give, and say whose hook it is where something is wrong."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.catalog.algorithms import Algorithm
from harness.catalog.datasets import Dataset
from harness.cell import Cell
from harness.gates.judge import GATES, Gate
from harness.store.record import Record
from ml.core.errors import describe

Given = TypeVar("Given")


@dataclass(frozen=True)
class Extensions:
    """Hold what the hooks of a session give; ``project`` are the folders a worker imports from.

    Without a ``config`` there are no hooks.
    """

    config: pytest.Config | None = None
    places: tuple[Path, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    algorithms: tuple[Algorithm, ...] = ()
    gates: tuple[Gate, ...] = ()
    project: tuple[Path, ...] = ()

    def arrange(self, cells: list[Cell]) -> list[Cell]:
        """Return the cells as the hooks filter and order them; raises ValueError for new ones."""
        if self.config is None:
            return cells
        known = {cell.id for cell in cells}
        arranged = list(cells)
        for plugin, call in _callers(self.config, "pytest_matrix_cells"):
            _call(plugin, "pytest_matrix_cells", call, config=self.config, cells=arranged)
            foreign = [e for e in arranged if not isinstance(e, Cell) or e.id not in known]
            if foreign:
                raise ValueError(
                    f"{plugin}: pytest_matrix_cells may leave cells out, order them and replace "
                    f"them by ones of the same id, but not add {describe(foreign[0])}"
                )
        return arranged

    def observe(self, record: Record) -> None:
        """Show a record to the hooks; what they raise goes through."""
        if self.config is not None:
            self.config.hook.pytest_matrix_record(config=self.config, record=record)


def gather(config: pytest.Config) -> Extensions:
    """Ask the hooks; raises ValueError naming the plugin or conftest.py that is at fault."""
    places: list[Path] = []
    datasets = []
    for plugin, entry in _given(config, "pytest_matrix_datasets", (Dataset, Path, str)):
        if isinstance(entry, Dataset):
            datasets.append(entry)
            continue
        place = config.rootpath / entry
        if not place.exists():
            raise ValueError(
                f"{plugin}: pytest_matrix_datasets names {place}, which is not there; give a "
                "descriptor (*.toml) or a folder of descriptors"
            )
        places.append(place)
    gates: dict[str, Gate] = {}
    for plugin, entry in _given(config, "pytest_matrix_gates", (Gate,)):
        if entry.name in GATES or entry.name in gates:
            raise ValueError(f"{plugin}: there is a gate {entry.name!r} already; rename this one")
        gates[entry.name] = entry
    algorithms = [e for _, e in _given(config, "pytest_matrix_algorithms", (Algorithm,))]
    return Extensions(
        config,
        tuple(places),
        tuple(datasets),
        tuple(algorithms),
        tuple(gates.values()),
        project_folders(config),
    )


class LateHooks:
    """Refuse a conftest.py that is read after its hooks were asked, before it goes unheard."""

    def __init__(self, known: set[object]) -> None:
        self._known = known

    def pytest_plugin_registered(self, plugin: object) -> None:
        """Look at each plugin beside the known ones; fails the collection of what brings it."""
        if plugin in self._known:
            return
        for name in ("datasets", "algorithms", "gates"):
            hook = f"pytest_matrix_{name}"
            if hasattr(plugin, hook):
                pytest.fail(
                    f"{getattr(plugin, '__file__', plugin)}: {hook} comes too late, the cells of "
                    "other tests are made already; move it to the conftest.py of the root folder",
                    pytrace=False,
                )


def _given(
    config: pytest.Config, hook: str, kinds: tuple[type[Any], ...]
) -> Iterable[tuple[str, Any]]:
    for plugin, call in _callers(config, hook):
        for given in _call(plugin, hook, call, config=config):
            entries = given if isinstance(given, list | tuple) else [given]
            for entry in entries:
                if not isinstance(entry, kinds):
                    names = " or ".join(kind.__name__ for kind in kinds)
                    raise ValueError(
                        f"{plugin}: {hook} returns a list of {names}, received {describe(entry)}"
                    )
                yield plugin, entry


def _callers(config: pytest.Config, hook: str) -> list[tuple[str, Any]]:
    """Return a caller for each plugin that has the hook, under its name; conftests come last."""
    manager = config.pluginmanager
    plugins = [impl.plugin for impl in getattr(config.hook, hook).get_hookimpls()]
    return [
        (
            str(getattr(plugin, "__file__", None) or manager.get_name(plugin)),
            manager.subset_hook_caller(hook, [other for other in plugins if other is not plugin]),
        )
        for plugin in dict.fromkeys(plugins)
    ]


def _call(plugin: str, hook: str, call: Any, **given: Any) -> Any:
    try:
        return call(**given)
    except Exception as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        place = f" ({where.filename}:{where.lineno})"
        told = str(problem) if isinstance(problem, ValueError) else f"{problem!r}{place}"
        raise ValueError(f"{plugin}: {hook}: {told}") from problem


def project_folders(config: pytest.Config) -> tuple[Path, ...]:
    """Return the folders of the session's project that a worker imports from."""
    return tuple(dict.fromkeys(_folders(config)))


def _folders(config: pytest.Config) -> Iterable[Path]:
    yield config.rootpath
    yield from config.getini("pythonpath")
    for plugin in config.pluginmanager.get_plugins():
        path = getattr(plugin, "__file__", None)
        if path is not None and Path(path).name == "conftest.py":
            yield Path(path).parent
