"""Keep a training in a file, from which another process goes on to the same bits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, ValidationError

from ml.artifacts.arrays import dump_arrays, hash_arrays, is_left_over, load_arrays, write_file
from ml.core.contracts import CheckpointSpec, ImportedSpec, TrainRequest
from ml.core.errors import DataInvalid, MatrixError, RequestInvalid, describe
from ml.core.learner import Adapter, Draws, FitReport, Part, Stop
from ml.core.loop import Keeper, Progress, TrainingState
from ml.core.specs import Contract, NotNegative
from ml.core.splits import Split
from ml.core.table import Table

MANIFEST, SEAL = "manifest", "seal"

# How many of the differences an error names before it only counts them.
NAMED_DIFFERENCES = 4


class ResumableLearner(Protocol):
    """Fit as ``ml.core.learner.Learner`` does, and go on from what a keeper has.

    The learners of an adapter that ``keeps_checkpoints`` do.
    """

    def fit(
        self,
        train: Part,
        validation: Part | None,
        draws: Draws,
        seconds: float,
        keeper: Keeper | None = None,
    ) -> FitReport:
        """Train, or go on training, for about ``seconds`` in all; raises MatrixError."""


class Manifest(Contract):
    """Say beside a checkpoint's arrays what it is of: the facts of ``describe_training``."""

    schema_version: Literal[1] = 1
    facts: dict[str, str]
    updates: PositiveInt
    best_epoch: PositiveInt
    seconds: NotNegative
    stopped: Stop | None = Field(default=None)


class CheckpointFile:
    """Keep one replicate's training in one file; see ``ml.core.loop.Keeper``.

    The file holds arrays and the manifest as the bytes of its JSON, sealed by their sha256, in
    safetensors; nothing in it is executed. It is replaced as a whole, so that a process that is
    killed at any time leaves the last checkpoint or the one before.
    """

    def __init__(self, spec: CheckpointSpec, replicate: int, facts: dict[str, str]) -> None:
        self.path = Path(spec.folder) / f"replicate-{replicate:03d}.safetensors"
        self._spec = spec
        self._facts = facts
        self._saved = time.monotonic()

    def load(self, start: TrainingState) -> Progress | None:
        """Return the progress in the file, None where there is no file; remove what was left over.

        Raises RequestInvalid for a folder that cannot be made and for a checkpoint of another
        training, naming what differs; DataInvalid for a file that is damaged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for found in self.path.parent.iterdir():
                if is_left_over(found, self.path):
                    found.unlink(missing_ok=True)
        except (OSError, ValueError) as problem:  # ValueError: a path with a null byte
            self._refuse_folder(problem)
        self._saved = time.monotonic()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            self._refuse_content(describe(problem))
        try:
            arrays = load_arrays(content)
            seal = arrays.pop(SEAL).tobytes()
            if seal != hash_arrays(arrays).encode():
                raise ValueError("its sha256 is not the one that it was sealed with")
            manifest = Manifest.model_validate_json(arrays.pop(MANIFEST).tobytes())
            progress = _progress(manifest, arrays)
        except MatrixError as problem:
            self._refuse_content(problem.message)
        except (KeyError, ValueError, ValidationError) as problem:
            self._refuse_content(describe(problem))
        if manifest.facts != self._facts:
            self._refuse_facts(manifest.facts)
        if not _fits(progress, start):
            self._refuse_content("its arrays are not those of such a training")
        return progress

    def is_due(self, epochs: int) -> bool:
        """Tell whether so many epochs, or the seconds since the last save, ask for a save."""
        by_epochs, by_seconds = self._spec.every_epochs, self._spec.every_seconds
        if by_epochs is not None and epochs % by_epochs == 0:
            return True
        return by_seconds is not None and time.monotonic() - self._saved >= by_seconds

    def save(self, progress: Progress) -> None:
        """Replace the file; raises RequestInvalid where that fails, the old file being kept."""
        manifest = Manifest(
            facts=self._facts,
            updates=progress.state.updates,
            best_epoch=progress.best_epoch,
            seconds=progress.seconds,
            stopped=progress.stopped,
        )
        arrays = _arrays(progress)
        arrays[MANIFEST] = np.frombuffer(manifest.model_dump_json().encode(), np.uint8)
        arrays[SEAL] = np.frombuffer(hash_arrays(arrays).encode(), np.uint8)
        try:
            write_file(self.path, dump_arrays(arrays), durable=True)
        except OSError as problem:
            self._refuse_folder(problem)
        self._saved = time.monotonic()

    def _refuse_folder(self, problem: Exception) -> NoReturn:
        raise RequestInvalid(
            f"the checkpoint cannot be written: {problem}",
            code="checkpoint_not_written",
            field="checkpoint.folder",
            expected="a folder that can be made and written",
            received=self._spec.folder,
            remedy="name another folder, or make room in it; what was kept before is still there",
        ) from None

    def _refuse_content(self, why: str) -> NoReturn:
        raise DataInvalid(
            f"the checkpoint {self.path} cannot be read: {why}",
            code="checkpoint_unreadable",
            field="checkpoint.folder",
            expected="the file as this version of the package wrote it",
            received=str(self.path),
            remedy="delete the file to train from the beginning, or name another folder",
        ) from None

    def _refuse_facts(self, kept: dict[str, str]) -> NoReturn:
        names = sorted(
            name for name in {**kept, **self._facts} if kept.get(name) != self._facts.get(name)
        )
        named, more = names[:NAMED_DIFFERENCES], len(names) - NAMED_DIFFERENCES
        listed = ", ".join(named) + (f" and {more} more" if more > 0 else "")

        def values(facts: dict[str, str]) -> str:
            return ", ".join(f"{name} {facts.get(name, '(none)')}" for name in named)

        raise RequestInvalid(
            f"the checkpoint in {self._spec.folder} is of another training, by {listed}",
            code="checkpoint_mismatch",
            field="checkpoint.folder",
            expected=f"a training with {values(kept)}",
            received=values(self._facts),
            remedy=f"name another folder, or delete {self.path} to train from the beginning",
        )


def check_checkpoint(request: TrainRequest, adapter: Adapter) -> None:
    """Raise RequestInvalid where a checkpoint is asked of a framework that trains in no epochs."""
    if request.checkpoint is None:
        return
    imported = isinstance(request.model, ImportedSpec)
    if imported or not adapter.keeps_checkpoints:
        whose = "a project's own models" if imported else "its estimators"
        raise RequestInvalid(
            f"{adapter.name} cannot keep checkpoints: {whose} train in one go",
            code="no_checkpoints",
            field="checkpoint",
            expected="null",
            received=describe(request.checkpoint.folder),
            remedy="leave checkpoint out, or train a network of another framework",
        )


def describe_training(
    request: TrainRequest,
    adapter: Adapter,
    table: Table,
    split: Split,
    parts: tuple[Part, Part],
) -> dict[str, str]:
    """Return all that a training's bits depend on, by dotted names, as JSON.

    That is the request without its id, folders and the place of its data; the framework, the
    versions; and hashes of the table, the split and the prepared parts, which hold what teachers
    say to a student.
    """
    asked = request.model_dump(mode="json", exclude={"id", "data", "checkpoint", "artifact_dir"})
    prepared = {
        f"{name}.{field}": array
        for name, part in zip(("train", "validation"), parts, strict=True)
        for field, array in vars(part).items()
        if array is not None
    }
    facts = {
        **asked,
        "framework": adapter.name,
        "versions": {"numpy": np.__version__, **adapter.versions()},
        "data": {
            "content_sha256": table.content_sha256,
            "split_sha256": split.sha256,
            "prepared_sha256": hash_arrays(prepared),
        },
    }
    return dict(_leaves("", facts))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict | list) or not value:
        yield place, json.dumps(value)
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, below in pairs:
        yield from _leaves(f"{place}.{name}" if place else str(name), below)


def _arrays(progress: Progress) -> dict[str, NDArray[Any]]:
    state = progress.state
    lists = {
        "weight": state.weights,
        "first": state.first,
        "second": state.second,
        "best": progress.best_weights,
    }
    arrays: dict[str, NDArray[Any]] = {
        f"{name}_{place:04d}": array
        for name, values in lists.items()
        for place, array in enumerate(values)
    }
    arrays["history_train"] = np.array(progress.train, np.float64)
    arrays["history_validation"] = np.array(progress.validation, np.float64)
    return arrays


def _progress(manifest: Manifest, arrays: dict[str, NDArray[Any]]) -> Progress:
    def named(name: str) -> list[NDArray[Any]]:
        return [array for key, array in arrays.items() if key.startswith(f"{name}_")]

    train, validation = named("history")
    return Progress(
        state=TrainingState(named("weight"), named("first"), named("second"), manifest.updates),
        best_weights=named("best"),
        best_epoch=manifest.best_epoch,
        train=tuple(train.tolist()),
        validation=tuple(validation.tolist()),
        seconds=manifest.seconds,
        stopped=manifest.stopped,
    )


def _fits(progress: Progress, start: TrainingState) -> bool:
    """Tell whether the arrays have the shapes of a training that starts so."""

    def shapes(arrays: list[Any]) -> list[tuple[Any, ...]]:
        return [(array.dtype, array.shape) for array in arrays]

    state, best = progress.state, progress.best_weights
    return (
        shapes(state.weights) == shapes(start.weights)
        and shapes(state.first) == shapes(start.first)
        and shapes(state.second) == shapes(start.second)
        and shapes(best) == (shapes(start.weights) if progress.validation else [])
        and progress.best_epoch <= len(progress.train)
        and len(progress.validation) in (0, len(progress.train))
    )
