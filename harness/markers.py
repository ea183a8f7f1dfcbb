"""Read marker arguments into a frozen tuple, whose fields are the only list of names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, NamedTuple

import pytest

TRACKS: dict[str, str] = {
    "unit": "one room on its own, in milliseconds",
    "contract": "what rooms, frameworks and files promise each other",
    "smoke": "one short pass through the whole way",
    "slow_matrix": "the matrix on real data",
    "perf": "timings, run alone",
    "system": "whole sessions beside other programs: a cluster, a browser, other plugins",
    "soak": "runs are killed and cells are broken on purpose; bounded",
}
# What each case of the matrix carries, so that `-m "slow_matrix and pytorch"` selects it.
CELL_MARKS: dict[str, str] = {
    "sklearn": "a cell of scikit-learn",
    "pytorch": "a cell of PyTorch",
    "tensorflow": "a cell of TensorFlow",
    "jax": "a cell of JAX",
    "classification": "a cell whose target is a class",
    "regression": "a cell whose target is a number",
    "forecasting": "a cell whose target is a number of a later time",
    "train": "a cell that trains a model",
    "sweep": "a cell that searches for a model's best settings",
    "distill": "a cell that trains a student of teachers",
}
MATRIX_LINE = (
    "matrix(task=…, mode=…, framework=…, dataset=…, algorithm=…): run the test once per cell "
    "that matches; each argument is a name or a list of names, and may be left out"
)
HEALTH_LINE = (
    "matrix_health(candidate=…, reference=…, group=…, tolerance=…, alpha=…, seed=…, verdict=…): "
    "what the fixture matrix_health checks unless its call says otherwise"
)


class MatrixMarker(NamedTuple):
    """Hold which cells a test asks for; an empty tuple matches every name."""

    task: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    framework: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    algorithm: tuple[str, ...] = ()


FIELDS = MatrixMarker._fields


def register_markers(config: pytest.Config) -> None:
    """Tell pytest which markers exist."""
    for name, meaning in {**TRACKS, **CELL_MARKS}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.addinivalue_line("markers", MATRIX_LINE)
    config.addinivalue_line("markers", HEALTH_LINE)


def read_marker(mark: pytest.Mark) -> MatrixMarker:
    """Return the marker's arguments; raises ValueError naming what is wrong and the choices."""
    if mark.args:
        raise ValueError(
            f"@pytest.mark.matrix takes no positional arguments, received {mark.args!r}; "
            f"name them: {', '.join(FIELDS)}"
        )
    values: dict[str, tuple[str, ...]] = {}
    for name, value in mark.kwargs.items():
        if name not in FIELDS:
            raise ValueError(
                f"@pytest.mark.matrix knows no argument {name!r}{near_miss(name, FIELDS)}; "
                f"choose from {', '.join(FIELDS)}"
            )
        values[name] = _names(name, value)
    return MatrixMarker(**values)


def check_names(marker: MatrixMarker, choices: dict[str, tuple[str, ...]]) -> None:
    """Raise ValueError for a name that is none of the catalog's, naming the choices."""
    for field in FIELDS:
        for name in getattr(marker, field):
            if name not in choices[field]:
                raise ValueError(
                    f"@pytest.mark.matrix({field}={name!r}): there is no such {field}"
                    f"{near_miss(name, choices[field])}; choose from {', '.join(choices[field])}"
                )


def marks_of(entry: Any) -> tuple[pytest.MarkDecorator, ...]:
    """Return the markers of a cell's case, none for a descriptor that is broken."""
    return _marks(*(getattr(entry, side, None) for side in ("framework", "task", "mode")))


@cache
def _marks(*names: str | None) -> tuple[pytest.MarkDecorator, ...]:
    return tuple(getattr(pytest.mark, name) for name in names if name)


def names_of(item: pytest.Item) -> set[str]:
    """Return the names of all markers that an item carries, its own and those from above it."""
    return {mark.name for node in item.iter_parents() for mark in node.own_markers}


def tracks_of(names: Collection[str]) -> list[str]:
    """Return those of an item's markers, by their names, that are tracks."""
    return [name for name in TRACKS if name in names]


def _names(argument: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"@pytest.mark.matrix({argument}=…) takes a name or a list of names, received {value!r}"
        )
    if not names:
        raise ValueError(
            f"@pytest.mark.matrix({argument}=[]) matches nothing; leave the argument out "
            "to match everything"
        )
    return tuple(names)


def near_miss(name: str, choices: Iterable[str]) -> str:
    """Return a question for the choice that is nearest to a name, empty where none is near."""
    import difflib

    near = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
