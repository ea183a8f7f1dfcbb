"""Part the training rows of a split for trials, and value what a trial has learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml.core.contracts import SweepRequest
from ml.core.errors import DataInvalid
from ml.core.fitting import Stopwatch, prepare_split
from ml.core.learner import Adapter, Learner, Part, Problem
from ml.core.metrics import Judge, primary_metric
from ml.core.replicates import check_classes
from ml.core.seeding import stream
from ml.core.splits import Rows, Split, split_rows
from ml.core.table import Table
from ml.preprocessing.preprocessor import TargetScaler


@dataclass(frozen=True)
class Fold:
    """Hold the rows that a trial trains on and those that value it, prepared for learners.

    Everything in the preparation is fitted on the training rows of the fold.
    """

    train: Part
    validation: Part
    problem: Problem
    scaler: TargetScaler | None
    judge: Judge
    metric: str

    def value(self, learner: Learner) -> float:
        """Return the metric of a learner's predictions for the validation rows.

        Raises TrainingDiverged where they are not finite, and DataInvalid where these rows
        leave the metric undefined.
        """
        prediction = learner.predict(self.validation.features)
        if self.scaler is not None:
            prediction = self.scaler.inverse(prediction)
        scores = self.judge.score(prediction)
        if self.metric not in scores.values:
            # The judge's texts speak of the rows that it scores, as of the test rows elsewhere.
            why = scores.undefined[self.metric].replace("test rows", "validation rows")
            raise DataInvalid(
                f"{self.metric} is undefined: {why}",
                code="metric_undefined",
                field="data.split.validation_fraction",
                remedy="raise the fraction of validation rows, or the number of rows",
            )
        return scores.values[self.metric]


def make_folds(request: SweepRequest, adapter: Adapter, table: Table) -> tuple[list[Fold], int]:
    """Return the folds of the first replicate's split, and how many rows value a trial.

    One fold trains on its training rows and values on its validation rows. Several are drawn
    from both by the table's own split rule, each with validation rows of its own. The test rows
    are in none. Raises DataInvalid where there are no validation rows.
    """
    outer = split_rows(table, request.seed, 0, validation=True)
    check_classes(table, outer, 0)
    if request.sweep.folds == 1:
        parts = [(outer.train, outer.validation)]
    else:
        parts = _inner_parts(request, table, outer)
    if not all(held.size for _, held in parts):
        raise DataInvalid(
            f"dataset {table.id}: there are no validation rows, on which a sweep values a trial",
            code="no_validation_rows",
            field="data.split.validation_fraction",
            expected="a fraction that gives at least one row, group or period",
            received=str(table.split.validation_fraction),
            remedy="raise the fraction, or the number of rows",
        )
    values = np.unique(np.concatenate([held for _, held in parts]))
    return [_fold(request, table, train, held) for train, held in parts], int(values.size)


def _inner_parts(request: SweepRequest, table: Table, outer: Split) -> list[tuple[Rows, Rows]]:
    rows = np.sort(np.concatenate([outer.train, outer.validation]))
    inner = table.take(rows)
    if table.split.rule == "given":
        # Which rows are tested is given, but not which of the others value a trial.
        rule = table.split.model_copy(update={"rule": "random", "column": None})
        inner = replace(inner, split=rule, group=None)
    seed = int(stream(request.seed, "sweep", "folds").integers(2**62))
    parts = []
    for fold in range(request.sweep.folds):
        try:
            split = split_rows(inner, seed, fold, validation=False)
        except DataInvalid as problem:
            problem.field = "sweep.folds"
            problem.remedy = "ask for fewer folds"
            raise
        parts.append((rows[split.train], rows[split.test]))
    return parts


def _fold(request: SweepRequest, table: Table, train: Rows, held: Rows) -> Fold:
    nothing = np.empty(0, np.int64)
    prepared = prepare_split(request, table, Split(train, held, nothing), Stopwatch())
    # What a judge calls the test rows are those that it scores: here the validation rows.
    judge = Judge(table, Split(train, nothing, held))
    return Fold(
        train=prepared.train,
        validation=prepared.validation,
        problem=prepared.problem,
        scaler=prepared.scaler,
        judge=judge,
        metric=primary_metric(table),
    )
