"""Read options and ini values into one frozen Settings; nothing else reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.runtime import KEYS, Given, gather_runtime, settle_runtime
from ml.core.errors import MatrixError

if TYPE_CHECKING:
    from ml.core.specs import RuntimeSpec


ISOLATIONS = ("warm", "fresh", "none")
EXECUTORS = ("local", "ray")
RETRIED = ("error", "timeout", "out_of_memory", "crashed")
NEWEST = "newest"
FOLDER_OPTIONS = ("--matrix-reports", "--matrix-data", "--matrix-summary")
INI_FILES = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")

# The sides of a cell by which the command line selects, and their patterns.
Selection = dict[str, tuple[str, ...]]
SIDES = ("dataset", "algorithm", "framework", "mode")


class Settings(NamedTuple):
    """Hold what the command line and the ini file say; times are in seconds, memory in MiB.

    A dataclass of so many fields would cost every session of pytest milliseconds.
    ``retry`` says how many more attempts a cell has after each outcome; ``resume`` is the name of
    a run, or ``newest``.
    """

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
    selection: Selection = {}  # noqa: RUF012 - nobody writes to it
    list_cells: bool = False
    isolation: str = "warm"
    memory: float | None = None
    retry: dict[str, int] = {}  # noqa: RUF012 - nobody writes to it
    resume: str | None = None
    reuse: bool = False
    executor: str = "local"
    ray_address: str | None = None
    summaries: tuple[Path, ...] = ()
    confirm: float = 300.0

    @property
    def runtime(self) -> RuntimeSpec:
        """Return the runtime of this session's workers; read_settings has checked it."""
        return _settle(self.runtime_given)


@cache
def _settle(given: tuple[Given, ...]) -> RuntimeSpec:
    return settle_runtime(given)


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
        "--matrix-confirm",
        metavar="S",
        help="seconds that may be spent, when the tests have ended, on training cells again whose "
        "time or memory stands out, to be sure before it is told (default: 300; 0: none)",
    )
    group.addoption(
        "--matrix-memory",
        metavar="MIB",
        help="resident memory that a cell may use; beyond it the cell ends with outcome "
        "out_of_memory (default: four fifths of the machine's)",
    )
    group.addoption(
        "--matrix-isolation",
        metavar="HOW",
        help="warm: a worker process per framework; fresh: one per cell; none: in this process, "
        "to debug, without limits of time and memory (default: warm)",
    )
    group.addoption(
        "--matrix-retry",
        metavar="POLICY",
        help="outcomes after which a cell is tried again, and how often: 'crashed, "
        "out_of_memory: 1; timeout: 2' (default: never)",
    )
    group.addoption(
        "--matrix-resume",
        nargs="?",
        const=NEWEST,
        metavar="RUN",
        help="go on with a run that was cut off, the newest unless it is named: only cells "
        "without a final record run",
    )
    group.addoption(
        "--matrix-reuse",
        action="store_true",
        help="take an earlier run's record for a cell where nothing that matters has changed",
    )
    group.addoption(
        "--matrix-executor",
        metavar="NAME",
        help="local or ray: where cells run (default: local)",
    )
    group.addoption(
        "--matrix-ray-address",
        metavar="ADDRESS",
        help="the Ray cluster to run on; without it a local one is started",
    )
    group.addoption(
        "--matrix-summary",
        metavar="FILE",
        help="append totals, failures and changes to this file, as Markdown; also done to "
        "$GITHUB_STEP_SUMMARY",
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
    group.addoption(
        "--matrix-models-at-once",
        metavar="N",
        help="models trained as one computation at most, 0 for what pays (default: 0)",
    )
    parser.addini("matrix_data", "further folders of dataset descriptors", "paths", [])
    parser.addini("matrix_require", "frameworks that must be installed", "args", [])
    parser.addini("matrix_reports", "where runs and index.html go", default="reports")
    parser.addini("matrix_rows", "rows used per cell at most", default="10000")
    parser.addini("matrix_replicates", "seeded splits per cell", default="3")
    parser.addini("matrix_seconds", "training time budget of a cell", default="60")
    parser.addini("matrix_timeout", "hard time limit of a cell", default="300")
    parser.addini(
        "matrix_confirm", "seconds for training suspect cells again at the end", default="300"
    )
    parser.addini("matrix_memory", "resident memory that a cell may use, in MiB", default="")
    parser.addini("matrix_isolation", "warm, fresh or none", default="warm")
    parser.addini("matrix_retry", "outcomes after which a cell is tried again", default="")
    parser.addini("matrix_executor", "local or ray: where cells run", default="local")
    parser.addini("matrix_ray_address", "the Ray cluster to run on", default="")
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
    if config.getoption("matrix_ray_address") and _value(config, "matrix_executor") != "ray":
        raise pytest.UsageError(
            "--matrix-ray-address: cells run on a Ray cluster with --matrix-executor ray only; "
            "give it too"
        )
    _check_root(config)
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
        isolation=_choice(config, "matrix_isolation", ISOLATIONS),
        memory=_number(config, "matrix_memory", least=1)
        if _value(config, "matrix_memory")
        else None,
        retry=read_retry(_value(config, "matrix_retry")),
        resume=config.getoption("matrix_resume"),
        reuse=config.getoption("matrix_reuse"),
        executor=_choice(config, "matrix_executor", EXECUTORS),
        ray_address=_value(config, "matrix_ray_address") or None,
        summaries=_summaries(config),
        confirm=_number(config, "matrix_confirm", least=0),
    )


def _check_root(config: pytest.Config) -> None:
    """Refuse a folder after an option that pytest has taken for the place of the tests.

    It looks for its root before it knows a plugin's options, so that a separate value which
    exists is a path to it, and the project's ini file may go unseen.
    """
    given = [str(part) for part in config.invocation_params.args]
    here = config.invocation_params.dir
    if config.inipath is not None or not any((here / name).is_file() for name in INI_FILES):
        return
    for option, value in pairwise(given):
        if option in FOLDER_OPTIONS and Path(here, value).exists():
            raise pytest.UsageError(
                f"{option} {value}: pytest took {value} for a place of tests, and found no ini "
                f"file from there; write it as one word: {option}={value}"
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


def _summaries(config: pytest.Config) -> tuple[Path, ...]:
    """Return the files that the option and GitHub's variable name."""
    given = config.getoption("matrix_summary")
    path = Path(config.invocation_params.dir, given) if given else None
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        problem = "is a folder" if path.is_dir() else f"cannot be made: no folder {path.parent}"
        raise pytest.UsageError(f"--matrix-summary: {path} {problem}; name a file to append to")
    github = os.environ.get("GITHUB_STEP_SUMMARY")
    return tuple(dict.fromkeys(filter(None, (path, Path(github) if github else None))))


def read_retry(text: str) -> dict[str, int]:
    """Return the attempts after each outcome; raises pytest.UsageError where it is no policy.

    Groups are parted by semicolons: ``crashed, out_of_memory: 1; timeout: 2``.
    """
    policy: dict[str, int] = {}
    for group in filter(None, map(str.strip, text.split(";"))):
        names, _, count = group.rpartition(":")
        outcomes = [name.strip() for name in names.split(",")]
        if not count.strip().isdecimal() or not all(name in RETRIED for name in outcomes):
            raise pytest.UsageError(
                "--matrix-retry / matrix_retry: expected outcomes of "
                f"{', '.join(RETRIED)} and a whole number, as 'crashed, out_of_memory: 1', "
                f"received {group!r}"
            )
        policy.update(dict.fromkeys(outcomes, int(count)))
    return policy


def without_resume(command: Sequence[str]) -> list[str]:
    """Return a command without its `--matrix-resume`, and without the run that it names."""
    kept: list[str] = []
    names_run = False
    for part in command:
        names_run, was_named = part == "--matrix-resume", names_run and part[:1] != "-"
        if not names_run and not was_named and not part.startswith("--matrix-resume="):
            kept.append(part)
    return kept


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str:
    value = _value(config, name)
    if value not in choices:
        raise pytest.UsageError(
            f"--{name.replace('_', '-')} / {name}: expected one of {', '.join(choices)}, "
            f"received {value!r}"
        )
    return value


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
