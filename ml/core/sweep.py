"""Sweep: search a model's hyperparameters, refit the best, and measure it on unseen rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ml.artifacts.arrays import hash_arrays
from ml.core.contracts import (
    GREATER_IS_BETTER,
    IntRange,
    NetworkSpec,
    SweepInfo,
    SweepRequest,
    SweepSpec,
    TrainResult,
    Trial,
)
from ml.core.errors import MatrixError, RequestInvalid, describe
from ml.core.folds import Fold, make_folds
from ml.core.learner import Adapter
from ml.core.metrics import primary_metric
from ml.core.population import check_population, search_population
from ml.core.replicates import Opened, open_request, run_opened
from ml.core.search import OPTUNA_VERSION, Search, check_search, measure_importance, rungs_of
from ml.core.settings import Settings, apply_settings, check_space, declared_settings
from ml.core.table import Table
from ml.core.trainees import trains_networks
from ml.core.trial_batches import Course, Spending, run_batch
from ml.core.trial_journal import TrialJournal, hash_facts
from ml.core.trials import Setting

_PBT_REFITS = (
    "pbt: the winner is refitted with its last settings, not along the way on which they changed"
)
_VALUED = ("ok", "pruned", "timeout")


class SweepFailed(MatrixError):
    """Report a sweep without any trial that has a value; ``outcome`` is the most frequent one."""

    code = "no_trial_succeeded"


@dataclass(frozen=True)
class _Found:
    """Hold what a search found: its trials by rank, the best first, and why it ended."""

    trials: list[Trial]
    ranked: list[Trial]
    ended: Any
    resumed: int
    epochs: int
    seconds: float


def run_sweep(request: SweepRequest, adapter: Adapter) -> TrainResult:
    """Search, refit the winner and measure it; raises MatrixError where that is refused.

    Trials are chosen on the validation rows of the first replicate's split; its test rows are
    looked at when the winner is settled, and not before. A winner whose refit fails gives way to
    the next best trial, with a warning. Raises SweepFailed where no trial has a value.
    """
    _check_request(request)
    warnings = check_search(request.sweep)
    if request.sweep.sampler == "pbt":
        check_population(request)
        warnings.append(_PBT_REFITS)
    opened = open_request(request, adapter)
    table = opened.table
    known = _known_settings(request, adapter, table)
    check_space(request.model, request.sweep.space, known)
    declared = declared_settings(request.model, request.sweep.space, known)
    folds, validation_rows = make_folds(request, adapter, table)
    found = _search(request, adapter, table, folds, declared)
    result, best = _refit(request, adapter, opened, found, warnings)
    if best == 0 and request.sweep.sampler != "pbt":
        default: TrainResult | None = result
    else:
        default = _measure_default(request, adapter, opened, warnings)
    shares, method = _importance(request, adapter, found.trials, result.greater_is_better)
    warnings += _learnt_little(request.sweep, found.trials)
    failed = [trial for trial in found.trials if trial.outcome not in _VALUED]
    if failed:
        _, why = _most_frequent(failed)
        warnings.append(f"{len(failed)} of {len(found.trials)} trials failed, most often: {why}")
    info = SweepInfo(
        trials=tuple(found.trials),
        best=best,
        validation_rows=validation_rows,
        default_metrics=tuple(one.metrics for one in default.replicates) if default else (),
        importance=shares,
        importance_method=method,
        ended=found.ended,
        resumed_trials=found.resumed,
        epochs=found.epochs,
        seconds=found.seconds,
    )
    return result.model_copy(
        update={
            "sweep": info,
            "versions": {**result.versions, "optuna": OPTUNA_VERSION},
            "warnings": (*result.warnings, *warnings),
        }
    )


def _check_request(request: SweepRequest) -> None:
    if request.checkpoint is not None:
        raise RequestInvalid(
            "a sweep is not resumed from a checkpoint",
            code="no_checkpoints",
            field="checkpoint",
            expected="null",
            received=describe(request.checkpoint.folder),
            remedy="leave checkpoint out, and name a file in sweep.journal to resume from",
        )


def _known_settings(
    request: SweepRequest, adapter: Adapter, table: Table
) -> dict[str, Setting] | None:
    model = request.model
    if isinstance(model, NetworkSpec) or adapter.settings_of is None:
        return None
    found = adapter.settings_of(model, len(table.classes))
    return None if found is None else dict(found)


def _importance(
    request: SweepRequest, adapter: Adapter, trials: list[Trial], greater: bool
) -> tuple[dict[str, float], str]:
    spec = request.sweep
    if spec.sampler == "pbt":
        return {}, "none: the settings of a population change on the way"
    in_epochs = trains_networks(request, adapter) and spec.folds == 1
    unit = "epoch" if in_epochs else "fold"
    return measure_importance(spec.space, trials, request.seed, greater, unit)


def _learnt_little(spec: SweepSpec, trials: list[Trial]) -> list[str]:
    """Warn where a sampler that learns from complete trials was left with few by the pruner."""
    complete = sum(trial.outcome == "ok" for trial in trials)
    pruned = sum(trial.outcome == "pruned" for trial in trials)
    if spec.sampler not in ("gp", "cmaes") or pruned <= complete:
        return []
    return [
        f"{spec.sampler} learns from complete trials only, and {spec.pruner} left it "
        f"{complete} of {len(trials)}: choose the pruner 'none', or the sampler 'tpe'"
    ]


def _search(
    request: SweepRequest, adapter: Adapter, table: Table, folds: list[Fold], declared: Settings
) -> _Found:
    """Ask for trials and train them, batch by batch, until a limit is reached."""
    spec, greater = request.sweep, GREATER_IS_BETTER[primary_metric(table)]
    limit = _limit(request)
    steps = limit if trains_networks(request, adapter) and len(folds) == 1 else len(folds)
    journal = TrialJournal(spec.journal, hash_facts(_facts(request, adapter, table, folds)))
    try:
        if spec.sampler == "pbt":
            return _search_by_population(request, adapter, folds[0], declared, journal, greater)
        spending = Spending(spec.epochs, spec.seconds, journal.elapsed)
        search = Search(spec, request.seed, greater, declared, steps)
        rungs = rungs_of(spec, limit)
        course = Course(request, adapter, folds, search, journal, spending, rungs, limit)
        trials: list[Trial] = []
        while (ended := _limit_reached(course, trials, greater)) is None:
            asked = search.ask(_batch_size(course, len(trials)))
            done = run_batch(course, asked)
            for trial in done:
                search.tell(trial.index, trial)
            trials += done
            if len(done) < len(asked):
                ended = "seconds"
                break
    finally:
        journal.close()
    resumed = sum(trial.index in journal.trials for trial in trials)
    ranked = _rank(trials, greater)
    return _Found(trials, ranked, ended, resumed, spending.epochs, spending.elapsed)


def _search_by_population(
    request: SweepRequest,
    adapter: Adapter,
    fold: Fold,
    declared: Settings,
    journal: TrialJournal,
    greater: bool,
) -> _Found:
    spending = Spending(None, None, journal.elapsed)
    trials = search_population(request, adapter, fold, declared, journal)
    resumed = len(trials) if journal.trials else 0
    late = any(trial.outcome == "timeout" for trial in trials)
    return _Found(
        trials,
        _rank(trials, greater),
        "seconds" if late else "trials",
        resumed,
        sum(trial.epochs for trial in trials),
        journal.elapsed if resumed else spending.elapsed,
    )


def _limit(request: SweepRequest) -> int:
    """Return the most epochs that a trial may train."""
    if not isinstance(request.model, NetworkSpec):
        return 1
    dimension = request.sweep.space.get("epochs")
    if isinstance(dimension, IntRange):
        return max(dimension.high, request.model.epochs)
    values = [] if dimension is None else getattr(dimension, "values", [])
    return max([request.model.epochs, *(one for one in values if isinstance(one, int))])


def _limit_reached(course: Course, trials: list[Trial], greater: bool) -> str | None:
    spec, spending = course.request.sweep, course.spending
    if not trials:
        return None
    if len(trials) >= spec.trials:
        return "trials"
    if spending.epochs_left is not None and spending.epochs_left < _least_epochs(course):
        return "epochs"
    if spending.is_out_of_time and not any(i >= len(trials) for i in course.journal.trials):
        return "seconds"
    if spec.patience:
        better = _rank(trials, greater)
        if better and len(trials) - 1 - better[0].index >= spec.patience:
            return "patience"
    return "exhausted" if course.search.exhausted else None


def _batch_size(course: Course, trained: int) -> int:
    spec, left = course.request.sweep, course.spending.epochs_left
    count = min(spec.batch, spec.trials - trained)
    return count if left is None else max(1, min(count, left // _least_epochs(course)))


def _least_epochs(course: Course) -> int:
    """Return the fewest epochs with which a trial can have a value."""
    return 1 if course.in_epochs else len(course.folds)


def _rank(trials: list[Trial], greater_is_better: bool) -> list[Trial]:
    """Return the trials with a value, the best first: complete ones before all others."""
    sign = -1.0 if greater_is_better else 1.0
    valued = [(trial, trial.value) for trial in trials if trial.value is not None]
    order = sorted(valued, key=lambda one: (one[0].outcome != "ok", sign * one[1], one[0].index))
    return [trial for trial, _ in order]


def _refit(
    request: SweepRequest, adapter: Adapter, opened: Opened, found: _Found, warnings: list[str]
) -> tuple[TrainResult, int]:
    """Refit the best trial whose model can be, and return its result and its index."""
    *better, last = found.ranked or _refuse(found.trials)
    for trial in better:
        try:
            return _run_trial(request, adapter, opened, trial), trial.index
        except MatrixError as problem:
            warnings.append(
                f"trial {trial.index} was the best, but could not be refitted: {problem.message}"
            )
    try:
        return _run_trial(request, adapter, opened, last), last.index
    except MatrixError as problem:
        problem.message = f"no trial could be refitted; trial {last.index}: {problem.message}"
        raise


def _run_trial(
    request: SweepRequest, adapter: Adapter, opened: Opened, trial: Trial
) -> TrainResult:
    is_declared = trial.index == 0 and request.sweep.sampler != "pbt"
    model = request.model if is_declared else apply_settings(request.model, trial.settings)
    return run_opened(request.model_copy(update={"model": model}), adapter, opened)


def _measure_default(
    request: SweepRequest, adapter: Adapter, opened: Opened, warnings: list[str]
) -> TrainResult | None:
    """Measure the model as it was declared, None where that fails."""
    try:
        return run_opened(request.model_copy(update={"artifact_dir": None}), adapter, opened)
    except MatrixError as problem:
        warnings.append(f"the model as declared could not be measured: {problem.message}")
        return None


def _refuse(trials: list[Trial]) -> NoReturn:
    outcome, why = _most_frequent(trials)
    count = sum(trial.outcome == outcome for trial in trials)
    problem = SweepFailed(
        f"none of the {len(trials)} trials has a value: {count} ended with {outcome}, "
        f"most often: {why}",
        field="sweep.space",
        expected="at least one trial that can be trained",
        received=f"{len(trials)} that cannot; trial 0 is the model as declared",
        remedy="search other values, or correct the model or the data",
    )
    problem.outcome = outcome if outcome not in _VALUED else "error"
    raise problem


def _most_frequent(trials: list[Trial]) -> tuple[str, str]:
    outcome = Counter(trial.outcome for trial in trials).most_common(1)[0][0]
    reasons = Counter(trial.reason for trial in trials if trial.outcome == outcome)
    return outcome, reasons.most_common(1)[0][0]


def _facts(
    request: SweepRequest, adapter: Adapter, table: Table, folds: list[Fold]
) -> dict[str, Any]:
    """Return all that the trials depend on: request, versions, and the rows as prepared."""
    asked = request.model_dump(mode="json", exclude={"id", "data", "artifact_dir", "checkpoint"})
    asked["sweep"].pop("journal")
    arrays = {
        f"{number}.{name}.{kind}": array
        for number, fold in enumerate(folds)
        for name, part in (("train", fold.train), ("validation", fold.validation))
        for kind, array in (("features", part.features), ("target", part.target))
    }
    return {
        **asked,
        "framework": adapter.name,
        "versions": {"numpy": np.__version__, "optuna": OPTUNA_VERSION, **adapter.versions()},
        "data_sha256": table.content_sha256,
        "prepared_sha256": hash_arrays(arrays),
    }
