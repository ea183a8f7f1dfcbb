"""Read options and ini values into one frozen Settings; nothing else reads them."""

import os
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.arguments import EXECUTORS, ISOLATIONS, PRUNERS, SAMPLERS, SIDES
from harness.arguments import NEWEST as NEWEST
from harness.runtime import KEYS, Given, gather_runtime, settle_runtime

if TYPE_CHECKING:
    from ml.core.specs import RuntimeSpec


RETRIED = ("error", "timeout", "out_of_memory", "crashed")
FOLDER_OPTIONS = ("--matrix-reports", "--matrix-data", "--matrix-summary")
INI_FILES = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")

# By the sides of a cell, the patterns by which the command line selects.
Selection = dict[str, tuple[str, ...]]


class Settings(NamedTuple):
    """Hold what the command line and the ini file say; times are in seconds, memory in MiB.

    A dataclass of so many fields would cost every session of pytest milliseconds, and so would
    annotations that are kept as text, which a tuple with names compiles one by one.
    ``retry`` says how many more attempts a cell has after each outcome; ``resume`` is the name of
    a run, or ``newest``. ``sweep_seconds`` are those of a sweep's search, None without a limit.
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
    trials: int = 20
    sampler: str = "tpe"
    pruner: str = "successive_halving"
    folds: int = 1
    sweep_seconds: float | None = None

    @property
    def runtime(self) -> "RuntimeSpec":
        """Return the runtime of this session's workers; read_settings has checked it."""
        return _settle(self.runtime_given)


@cache
def _settle(given: tuple[Given, ...]) -> "RuntimeSpec":
    return settle_runtime(given)


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
        trials=int(_number(config, "matrix_trials", least=1, most=10_000, whole=True)),
        sampler=_choice(config, "matrix_sampler", SAMPLERS),
        pruner=_choice(config, "matrix_pruner", PRUNERS),
        folds=_folds(config),
        sweep_seconds=_sweep_seconds(config),
    )


def _folds(config: pytest.Config) -> int:
    folds = int(_number(config, "matrix_folds", least=1, most=10, whole=True))
    if _value(config, "matrix_pruner") == "wilcoxon" and folds < 3:
        raise pytest.UsageError(
            "--matrix-pruner / matrix_pruner: wilcoxon compares trials fold by fold; expected "
            f"--matrix-folds of at least 3, received {folds}"
        )
    return folds


def _sweep_seconds(config: pytest.Config) -> float | None:
    """Return the seconds of a search, by default so few that its cell ends before its timeout."""
    timeout = _number(config, "matrix_timeout", least=0.001)
    if not _value(config, "matrix_sweep_seconds"):
        return timeout / 3
    seconds = _number(config, "matrix_sweep_seconds", least=0)
    if seconds >= timeout:
        raise pytest.UsageError(
            "--matrix-sweep-seconds / matrix_sweep_seconds: the winner is trained after the "
            f"search; expected less than --matrix-timeout ({timeout:g}), received {seconds:g}"
        )
    return seconds or None


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
    except Exception as problem:
        from ml.core.errors import MatrixError

        if not isinstance(problem, MatrixError):
            raise
        raise pytest.UsageError(str(problem)) from None
    return given


def threads_of_worker(config: pytest.Config) -> int:
    """Return the threads of one worker; it can be asked before the settings are read."""
    given = _runtime(config)
    return settle_runtime(given).threads if given else 1


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _number(
    config: pytest.Config,
    name: str,
    *,
    least: float,
    most: float = float("inf"),
    whole: bool = False,
) -> float:
    text = _value(config, name)
    kind = "a whole number" if whole else "a number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most or value == float("inf"):
        option = "--" + name.replace("_", "-")
        limit = f"of at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
        raise pytest.UsageError(f"{option} / {name}: expected {kind} {limit}, received {text!r}")
    return value
