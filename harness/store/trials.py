"""Place the trials of a run's sweeps, and read them while they come in."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ml.core.contracts import Trial
from ml.core.errors import MatrixError

SWEEPS = "sweeps"
CELL = r"\w+-\w+-\w+-\w+"
# The codes of a sweep that finds trials which it cannot go on with.
UNUSABLE = ("journal_mismatch", "journal_unreadable")


class _Line(BaseModel):
    trial: Trial


def name_trials(run: Path, cell: str) -> Path | None:
    """Return the file for the trials of a cell's sweep, None for what is no cell's id."""
    return run / SWEEPS / f"{cell}.jsonl" if re.fullmatch(CELL, cell) else None


def place_trials(run: Path, cell: str) -> Path:
    """Return the file for the trials of a cell's sweep in a run's folder, and make its folder.

    Raises MatrixError for what is no cell's id, or where the folder cannot be made.
    """
    path = name_trials(run, cell)
    if path is None:
        raise MatrixError(
            f"{cell!r} names no file of trials",
            expected="a cell's id, as dataset-algorithm-framework-mode",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise MatrixError(
            f"{path.parent} cannot be made: {problem.strerror}",
            remedy="free space there, or name another folder of reports",
        ) from None
    return path


def set_trials_aside(path: Path) -> None:
    """Rename a file of trials, so that its sweep begins anew and they are still there."""
    number = 1
    while (aside := path.with_suffix(f".{number}.jsonl")).exists():
        number += 1
    path.rename(aside)


def read_trials(path: Path) -> list[Trial]:
    """Return the trials that stand in a file, in the order of their end; none where it is not.

    A line that is no trial, as the first one or one that is being written, is passed over.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found: dict[int, Trial] = {}
    for line in lines:
        try:
            trial = _Line.model_validate_json(line).trial
        except ValidationError:
            continue
        found[trial.index] = trial
    return list(found.values())
