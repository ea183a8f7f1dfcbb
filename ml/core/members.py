"""Train one member of a population, an interval at a time, wherever it is asked to."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ml.core.checkpoints import CheckpointFile, ResumableLearner
from ml.core.contracts import GREATER_IS_BETTER, CheckpointSpec, NetworkSpec, SweepRequest
from ml.core.folds import Fold
from ml.core.learner import Adapter, Draws
from ml.core.loop import Progress, TrainingState
from ml.core.settings import Settings, apply_settings
from ml.core.trial_batches import describe_failure

# How many times in its training a member may take over another one's weights, and one more.
INTERVALS = 10
# Stands for the value of a member that has none: it takes over another one's weights.
WORST = 1e30
KEPT = "member.json"


@dataclass(frozen=True)
class Setup:
    """Hold what each member of a population is made from, in whatever process it trains.

    ``model`` is the declared one, with the epochs that the sweep has for each member.
    """

    adapter: Adapter
    request: SweepRequest
    model: NetworkSpec
    fold: Fold

    @property
    def interval(self) -> int:
        """Return after how many epochs members are compared."""
        return max(1, self.model.epochs // INTERVALS)

    @property
    def facts(self) -> dict[str, str]:
        """Return what the kept states have in common, so that one member takes another's."""
        return {"population": self.request.id}


class Member:
    """Train one network an interval at a time, with settings that change in between."""

    def __init__(self, setup: Setup, name: str, index: int, folder: Path) -> None:
        setup.adapter.prepare(setup.request.runtime)
        self._setup, self._name, self._index = setup, name, index
        self._folder = folder
        self._epochs = 0
        self._failed: tuple[str, str] | None = None
        self._origin: tuple[str, int] | None = None

    def train(self, settings: Settings) -> dict[str, Any]:
        """Go on for an interval with these settings, and tell the value or the failure."""
        setup = self._setup
        start, goal = self._epochs, min(self._epochs + setup.interval, setup.model.epochs)
        self._epochs = goal
        value = -WORST if GREATER_IS_BETTER[setup.fold.metric] else WORST
        if self._failed is None:
            try:
                value = self._fit(settings, goal)
            except Exception as problem:  # noqa: BLE001 - whatever it raises is its own row
                self._failed = describe_failure(problem)
        origin, self._origin = self._origin, None
        return {
            "value": value,
            "epochs": goal,
            "trained": goal - start,
            "failed": self._failed,
            "origin": origin,
            "done": goal == setup.model.epochs,
        }

    def take(self, folder: Path) -> None:
        """Go on from the state in this folder, which may be another member's."""
        shutil.copytree(folder, self._folder, dirs_exist_ok=True)
        kept = json.loads((folder / KEPT).read_text())
        self._epochs, self._failed = kept["epochs"], kept["failed"]
        if kept["name"] != self._name:
            self._origin = kept["name"], self._epochs

    def keep(self, folder: Path) -> None:
        """Put the state into a folder."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)
        kept = {"name": self._name, "epochs": self._epochs, "failed": self._failed}
        (folder / KEPT).write_text(json.dumps(kept))

    def _fit(self, settings: Settings, goal: int) -> float:
        setup, fold = self._setup, self._setup.fold
        model = apply_settings(setup.model, settings)
        model = model.model_copy(update={"epochs": goal, "patience": 0})
        learner = setup.adapter.make_learner(model, fold.problem)
        draws = Draws.of(setup.request.seed, "population", self._index)
        seconds = setup.request.replicate_seconds
        keeper = _State(CheckpointFile(_spec(self._folder), 0, setup.facts))
        cast(ResumableLearner, learner).fit(fold.train, fold.validation, draws, seconds, keeper)
        return fold.value(learner)


def _spec(folder: Path) -> CheckpointSpec:
    # Only its end is kept.
    return CheckpointSpec(folder=str(folder), every_epochs=2**31 - 1)


class _State:
    """Keep a member's training, and go on where it ended; see ``ml.core.loop.Keeper``."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file

    def load(self, start: TrainingState) -> Progress | None:
        """Return the progress with more epochs to come."""
        found = self._file.load(start)
        return None if found is None else replace(found, stopped=None)

    def is_due(self, epochs: int) -> bool:
        """Keep nothing on the way."""
        return self._file.is_due(epochs)

    def save(self, progress: Progress) -> None:
        """Keep the end of an interval."""
        self._file.save(progress)
