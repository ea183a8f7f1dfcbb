"""Place the trials of a run's sweeps, and read them while they come in."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from ml.core.contracts import Trial
from ml.core.errors import MatrixError

SWEEPS = "sweeps"
CELL = r"\w+-\w+-\w+-\w+"


def place_trials(run: Path, cell: str) -> Path:
    """Return the file for the trials of a cell's sweep in a run's folder, and make its folder.

    Raises MatrixError for what is no cell's id, or where the folder cannot be made.
    """
    if not re.fullmatch(CELL, cell):
        raise MatrixError(
            f"{cell!r} names no file of trials",
            expected="a cell's id, as dataset-algorithm-framework-mode",
        )
    path = run / SWEEPS / f"{cell}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise MatrixError(
            f"{path.parent} cannot be made: {problem.strerror}",
            remedy="free space there, or name another folder of reports",
        ) from None
    return path


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
            trial = Trial.model_validate_json(line)
        except ValidationError:
            continue
        found[trial.index] = trial
    return list(found.values())
