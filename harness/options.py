"""Read options and ini values into one frozen Settings; nothing else reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.runtime import KEYS, Given, gather_runtime, settle_runtime
from ml.core.errors import MatrixError

if TYPE_CHECKING:
    from ml.core.specs import RuntimeSpec


# The sides of a cell by which the command line selects, and their patterns.
Selection = dict[str, tuple[str, ...]]
SIDES = ("dataset", "algorithm", "framework", "mode")


@dataclass(frozen=True)
class Settings:
    """Hold what the command line and the ini file say; times are in seconds."""

    root: Path
    data: tuple[Path, ...]
    reports: Path
    require: tuple[str, ...]
    rows: int
    replicates: int
    seconds: float
    timeout: float
    strict_tracks: bool
    runtime_given: tuple[Given, ...] = ()
    selection: Selection = field(default_factory=dict)
    list_cells: bool = False

    @cached_property
    def runtime(self) -> RuntimeSpec:
        """Return the runtime of this session's workers; read_settings has checked it."""
        return settle_runtime(self.runtime_given)


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini values; an option wins over its ini value."""
    group = parser.getgroup("matrix", "dataset × algorithm × framework × mode (mlmatrix)")
    group.addoption(
        "--matrix-data",
        action="append",
        metavar="DIR",
        help="a further folder of dataset descriptors (*.toml); may be given several times",
    )
    for side in SIDES:
        group.addoption(
            f"--matrix-{side}",
            action="append",
            metavar="GLOB",
            help=f"run only cells whose {side} matches; may be given several times",
        )
    group.addoption(
        "--matrix-list",
        action="store_true",
        help="run nothing: list the cells that would run, what was left out, and why",
    )
    group.addoption(
        "--matrix-require",
        metavar="NAMES",
        help="frameworks, comma separated, that must be installed: fail instead of skipping",
    )
    group.addoption(
        "--matrix-reports", metavar="DIR", help="where runs and index.html go (default: reports)"
    )
    group.addoption(
        "--matrix-rows", metavar="N", help="rows used per cell at most (default: 10000)"
    )
    group.addoption("--matrix-replicates", metavar="N", help="seeded splits per cell (default: 3)")
    group.addoption(
        "--matrix-seconds",
        metavar="S",
        help="training time budget of a cell; beyond it training stops and the gate fails "
        "(default: 60)",
    )
    group.addoption(
        "--matrix-timeout",
        metavar="S",
        help="a cell that has no result by then is killed, with outcome timeout (default: 300)",
    )
    group.addoption(
        "--matrix-device",
        metavar="NAME",
        help="auto, cpu or cuda (default: auto, the accelerator that a framework finds)",
    )
    group.addoption(
        "--matrix-threads", metavar="N", help="threads of each framework's worker (default: 1)"
    )
    group.addoption(
        "--matrix-deterministic",
        action="store_true",
        default=None,
        help="ask for equal numbers on every repetition (the default)",
    )
    group.addoption(
        "--no-matrix-deterministic",
        action="store_false",
        dest="matrix_deterministic",
        default=None,
        help="allow numbers that differ from one repetition to the next",
    )
    group.addoption(
        "--matrix-compilation",
        metavar="WHEN",
        help="auto, always or never: compile epochs, where a framework can choose (default: auto)",
    )
    parser.addini("matrix_data", "further folders of dataset descriptors", "paths", [])
    parser.addini("matrix_require", "frameworks that must be installed", "args", [])
    parser.addini("matrix_reports", "where runs and index.html go", default="reports")
    parser.addini("matrix_rows", "rows used per cell at most", default="10000")
    parser.addini("matrix_replicates", "seeded splits per cell", default="3")
    parser.addini("matrix_seconds", "training time budget of a cell", default="60")
    parser.addini("matrix_timeout", "hard time limit of a cell", default="300")
    parser.addini(
        "matrix_strict_tracks",
        "every test, not only those that ask for a cell, needs exactly one track marker",
        "bool",
        False,
    )


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this session; raises pytest.UsageError naming the option."""
    given = config.getoption("matrix_data") or []
    folders = [Path(config.invocation_params.dir, folder) for folder in given]
    folders += config.getini("matrix_data")
    for folder in folders:
        if not folder.is_dir():
            raise pytest.UsageError(
                f"--matrix-data / matrix_data: {folder} is not a folder; "
                "give a folder that holds dataset descriptors (*.toml)"
            )
    required = config.getoption("matrix_require")
    return Settings(
        root=config.rootpath,
        data=tuple(dict.fromkeys(folder.resolve() for folder in folders)),
        reports=config.rootpath / _value(config, "matrix_reports"),
        require=tuple(
            name.strip()
            for name in (required.split(",") if required else config.getini("matrix_require"))
            if name.strip()
        ),
        rows=int(_number(config, "matrix_rows", least=2, whole=True)),
        replicates=int(_number(config, "matrix_replicates", least=1, whole=True)),
        seconds=_number(config, "matrix_seconds", least=0.001),
        timeout=_number(config, "matrix_timeout", least=0.001),
        strict_tracks=bool(config.getini("matrix_strict_tracks")),
        runtime_given=_runtime(config),
        selection={
            side: tuple(patterns)
            for side in SIDES
            if (patterns := config.getoption(f"matrix_{side}"))
        },
        list_cells=config.getoption("matrix_list"),
    )


def _runtime(config: pytest.Config) -> tuple[Given, ...]:
    arguments = {key: config.getoption(f"matrix_{key}") for key in KEYS}
    try:
        given = gather_runtime(config.rootpath, os.environ, arguments, "--matrix-")
        if given:  # Without it, a session that has no cells would import pydantic for nothing.
            settle_runtime(given)
    except MatrixError as problem:
        raise pytest.UsageError(str(problem)) from None
    return given


def _value(config: pytest.Config, name: str) -> str:
    given = config.getoption(name)
    return str(config.getini(name) if given is None else given)


def _number(config: pytest.Config, name: str, *, least: float, whole: bool = False) -> float:
    text = _value(config, name)
    kind = "a whole number" if whole else "a number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        option = "--" + name.replace("_", "-")
        raise pytest.UsageError(
            f"{option} / {name}: expected {kind} of at least {least:g}, received {text!r}"
        )
    return value
