"""Prepare one split for a model, fit it, and predict in the target's own unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from ml.core.checkpoints import ResumableLearner
from ml.core.contracts import TeacherSpec, Timings, TrainRequest
from ml.core.imported import make_learner
from ml.core.learner import (
    Adapter,
    Distillation,
    Draws,
    FitReport,
    Floats32,
    Floats64,
    Learner,
    Part,
    Problem,
)
from ml.core.loop import Keeper
from ml.core.splits import Rows, Split
from ml.core.table import Table
from ml.preprocessing.preprocessor import Preprocessor, TargetScaler, fit_preprocessor


class Stopwatch:
    """Collect wall seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to this phase, also when it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed

    def timings(self) -> Timings:
        """Return the phases so far."""
        return Timings(**self.seconds)


@dataclass(frozen=True)
class Lesson:
    """Hold what a student learns from: how, and what its teacher predicts for rows of the table.

    Predictions are probabilities [n, classes], or values [n] in the target's own unit.
    """

    rule: Distillation
    predict: Callable[[Rows], Floats64]


# Gives the keeper of a training on these parts.
Keep = Callable[[Part, Part], Keeper]


@dataclass(frozen=True)
class PreparedSplit:
    """Hold one split as a model learns it: scaled features and targets, and the test rows'."""

    problem: Problem
    preprocessor: Preprocessor
    scaler: TargetScaler | None
    train: Part
    validation: Part
    test: Floats32

    @property
    def held(self) -> Part | None:
        """Return the validation part where it has rows."""
        return self.validation if self.validation.rows else None


@dataclass(frozen=True)
class FittedModel:
    """Hold a learner fitted on one split beside its preparation and the test rows' features."""

    learner: Learner
    preprocessor: Preprocessor
    scaler: TargetScaler | None
    report: FitReport
    train: Part
    test: Floats32

    @classmethod
    def of(cls, prepared: PreparedSplit, learner: Learner, report: FitReport) -> FittedModel:
        """Return what a learner became that was fitted on a prepared split."""
        return cls(
            learner, prepared.preprocessor, prepared.scaler, report, prepared.train, prepared.test
        )

    def predict(self, features: Floats32) -> Floats64:
        """Return probabilities [n, classes], or values [n] in the target's own unit."""
        prediction = self.learner.predict(features)
        return prediction if self.scaler is None else self.scaler.inverse(prediction)


def prepare_split(
    spec: TrainRequest | TeacherSpec,
    table: Table,
    split: Split,
    watch: Stopwatch,
    lesson: Lesson | None = None,
) -> PreparedSplit:
    """Prepare a split for a model, in the phase prepare of the watch."""
    with watch.phase("prepare"):
        preprocessor = fit_preprocessor(spec.preprocessing, table, split.train)
        scaler = None if table.classes else TargetScaler.fit(table.target[split.train])
        train, validation = (
            _part(table, preprocessor, scaler, rows, lesson)
            for rows in (split.train, split.validation)
        )
        test = preprocessor.transform(table, split.test)
    problem = Problem(
        inputs=preprocessor.features,
        classes=len(table.classes),
        distillation=lesson.rule if lesson else None,
        window=find_window(table, preprocessor),
    )
    return PreparedSplit(problem, preprocessor, scaler, train, validation, test)


def fit_prepared(
    spec: TrainRequest | TeacherSpec,
    adapter: Adapter,
    prepared: PreparedSplit,
    draws: Draws,
    seconds: float,
    watch: Stopwatch,
    keep: Keep | None = None,
) -> FittedModel:
    """Fit a model on a prepared split, in the phase fit of the watch.

    With ``keep`` the learner is one that can go on from what its keeper has.
    """
    learner = make_learner(adapter, spec.model, prepared.problem)
    with watch.phase("fit"):
        train, held = prepared.train, prepared.held
        if keep is None:
            report = learner.fit(train, held, draws, seconds)
        else:
            keeper = keep(train, prepared.validation)
            report = cast(ResumableLearner, learner).fit(train, held, draws, seconds, keeper)
    return FittedModel.of(prepared, learner, report)


def fit_model(
    spec: TrainRequest | TeacherSpec,
    adapter: Adapter,
    table: Table,
    split: Split,
    draws: Draws,
    seconds: float,
    watch: Stopwatch,
) -> FittedModel:
    """Prepare a split for a model and fit it, in the phases prepare and fit of the watch."""
    prepared = prepare_split(spec, table, split, watch)
    return fit_prepared(spec, adapter, prepared, draws, seconds, watch)


def find_window(table: Table, preprocessor: Preprocessor) -> tuple[int, ...]:
    """Return the places of the table's past values among the features, from the oldest on."""
    places = {name: place for place, name in reversed(list(enumerate(preprocessor.names)))}
    return tuple(places[name] for name in table.window if name in places)


def _part(
    table: Table,
    preprocessor: Preprocessor,
    scaler: TargetScaler | None,
    rows: Rows,
    lesson: Lesson | None,
) -> Part:
    # scikit-learn predicts no rows at all only by raising.
    soft = lesson.predict(rows) if lesson and rows.size else None
    target: Any = table.target[rows]
    return Part(
        features=preprocessor.transform(table, rows),
        target=target if scaler is None else scaler.transform(target),
        soft=soft if scaler is None or soft is None else scaler.transform(soft),
    )
