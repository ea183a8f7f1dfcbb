"""Build what a cell's page says of its sweep; the trials themselves stand in the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.report.sweeps import (
    TRIAL_OUTCOMES,
    Pair,
    Tuning,
    compare_tuned,
    describe_counts,
    find_trial,
    list_counts,
    name_settings,
    write_setting,
)
from harness.report.text import count, write_gain, write_number, write_seconds
from harness.store.record import Record
from ml.core.contracts import Choice, Dimension, SearchSpace, SweepInfo, Trial
from ml.core.trials import Setting

ENDED = {
    "trials": "all its trials were made",
    "epochs": "its epochs were used up",
    "seconds": "its seconds were used up",
    "patience": "no better trial had come for long enough",
    "exhausted": "every point of its space had been tried",
}
ONE_SPLIT = (
    "All replicates stand on one split, and differ by their initial weights and their order of "
    "rows only."
)
_space: TypeAdapter[SearchSpace] = TypeAdapter(SearchSpace)


@dataclass(frozen=True)
class Axis:
    """Hold one hyperparameter: its path, its short name, and what was searched, in words.

    ``low`` and ``high`` hold all its settings, too; they are None where it has ``levels``: values
    without an order, or of several types. On a logarithmic axis a ``zero`` stands below them.
    """

    path: str
    name: str
    searched: str
    log: bool
    zero: bool
    low: float | None
    high: float | None
    levels: tuple[Setting, ...]


@dataclass(frozen=True)
class SweepPanel:
    """Hold what is said of a sweep; ``verdict`` compares the tuned model with the default one.

    ``importance`` has the shares of the hyperparameters, the largest first, ``importance_words``
    how they were found, or why there are none. ``steps`` says what a trial's steps count.
    ``outcomes`` gives the word for each outcome that a trial has. A sweep without a result has the
    ``trials`` that had ended, as JSON values, and knows neither its metric nor a ``best``.
    """

    verdict: str
    told: tuple[str, ...]
    metric: str
    greater_is_better: bool | None
    pairs: tuple[Pair, ...]
    best: int | None
    axes: tuple[Axis, ...]
    importance: tuple[tuple[str, float], ...]
    importance_words: str
    steps: str
    outcomes: dict[str, str]
    trials: tuple[dict[str, Any], ...] = ()


def build_panel(record: Record, kept: Sequence[Trial] = ()) -> SweepPanel | None:
    """Build the panel of a sweep's record, None where there is nothing to show.

    ``kept`` are the trials in the sweep's file, for a record that has no result.
    """
    result = record.result
    if result is None or result.sweep is None:
        return _build_unfinished(record, kept) if kept else None
    info, tuning = result.sweep, compare_tuned(result, result.sweep)
    folds = _read_folds(record)
    # An estimator knows no epochs, and a whole training of it counts as one.
    unit = "epoch" if any(one.epochs for one in result.replicates) else "training"
    axes = _build_axes(record, info.trials)
    names = {axis.path: axis.name for axis in axes}
    shares = sorted(info.importance.items(), key=lambda entry: (-entry[1], entry[0]))
    return SweepPanel(
        verdict=_write_verdict(tuning),
        told=tuple(_tell(tuning, info, folds, unit)),
        metric=tuning.metric,
        greater_is_better=tuning.greater_is_better,
        pairs=tuning.pairs,
        best=info.best,
        axes=axes,
        importance=tuple((names.get(path, path), share) for path, share in shares),
        importance_words=_tell_importance(info),
        steps="fold" if folds > 1 else "epoch",
        outcomes=_name_outcomes(info.trials),
    )


def _build_unfinished(record: Record, kept: Sequence[Trial]) -> SweepPanel:
    trials = sorted(kept, key=lambda trial: trial.index)
    return SweepPanel(
        verdict="The sweep gave no tuned model.",
        told=(
            f"{count(len(trials), 'trial')} had ended before: {list_counts(trials)}. "
            "They are kept in the run's folder, under sweeps.",
        ),
        metric="value",
        greater_is_better=None,
        pairs=(),
        best=None,
        axes=_build_axes(record, trials),
        importance=(),
        importance_words="There is none: the sweep did not end.",
        steps="fold" if _read_folds(record) > 1 else "epoch",
        outcomes=_name_outcomes(trials),
        trials=tuple(trial.model_dump(mode="json") for trial in trials),
    )


def _name_outcomes(trials: Sequence[Trial]) -> dict[str, str]:
    return {trial.outcome: TRIAL_OUTCOMES[trial.outcome] for trial in trials}


def _write_verdict(tuning: Tuning) -> str:
    metric = tuning.metric
    if tuning.is_default:
        return (
            "No trial was better than the default, so the tuned model is the default one: "
            f"{metric} {write_number(tuning.tuned, 4)} on the test rows."
        )
    if tuning.gain is None:
        return (
            f"The tuned model has {metric} {write_number(tuning.tuned, 4)} on the test rows; the "
            "default has none to compare with."
        )
    text = (
        f"Tuned, {metric} is {write_number(tuning.tuned, 4)} on the test rows, against "
        f"{write_number(tuning.default, 4)} by default: "
    )
    if not tuning.gain:
        return f"{text}no difference."
    text += f"{'better' if tuning.gain > 0 else 'worse'} by {write_number(abs(tuning.gain))}"
    gains = tuning.gains
    if len(gains) > 1:
        wins = sum(gain * tuning.gain > 0 for gain in gains)
        text += (
            f", in {wins} of {len(gains)} replicates "
            f"(from {write_gain(min(gains))} to {write_gain(max(gains))})"
        )
    return f"{text}."


def _tell(tuning: Tuning, info: SweepInfo, folds: int, unit: str) -> list[str]:
    best, default = find_trial(info, info.best), find_trial(info, 0)
    parts = "parts" if folds > 1 else "rows"
    told = []
    if best is not None and best.value is not None and not tuning.is_default:
        text = (
            f"On the {info.validation_rows:,} validation rows, by which trials are chosen, trial "
            f"{best.index} had {write_number(best.value, 4)}"
        )
        if default is not None and default.value is not None:
            text += f", the default (trial 0) {write_number(default.value, 4)}"
        elif default is not None:
            text += f"; the default (trial 0) had none: {TRIAL_OUTCOMES[default.outcome]}"
            text += f", {default.reason}" if default.reason else ""
        told.append(
            f"{text}. The best of many looks better on the validation {parts} than it is; the "
            "test rows, which no trial saw, decide."
        )
    if len(tuning.pairs) > 1:
        told.append(ONE_SPLIT)
    cost = f"{count(info.epochs, unit)} in " if info.epochs else ""
    told.append(
        f"{describe_counts(info.trials)}; {cost}{write_seconds(info.seconds)}. "
        f"The search ended when {ENDED[info.ended]}."
    )
    if info.resumed_trials:
        were = "was" if info.resumed_trials == 1 else "were"
        told.append(
            f"{count(info.resumed_trials, 'trial')} {were} in the journal of a sweep that had "
            f"been cut off, and {were} not trained again."
        )
    return told


def _tell_importance(info: SweepInfo) -> str:
    if info.importance:
        return (
            f"By {info.importance_method or 'a method that is not named'}: the share of the "
            "variance of the trials' values that each hyperparameter explains."
        )
    scored = sum(trial.value is not None for trial in info.trials)
    if not any(trial.settings for trial in info.trials):
        return "There is none: no hyperparameter was searched."
    return f"There is none: {count(scored, 'trial')} with a value {_are(scored)} too few to tell."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _read_folds(record: Record) -> int:
    asked = record.request.get("sweep")
    folds = asked.get("folds") if isinstance(asked, dict) else None
    return folds if isinstance(folds, int) else 1


def _build_axes(record: Record, trials: Sequence[Trial]) -> tuple[Axis, ...]:
    space = _read_space(record)
    paths = list(dict.fromkeys([*space, *(path for trial in trials for path in trial.settings)]))
    names = name_settings(paths)
    return tuple(
        _build_axis(
            path,
            names[path],
            space.get(path),
            [trial.settings[path] for trial in trials if path in trial.settings],
        )
        for path in paths
    )


def _read_space(record: Record) -> dict[str, Dimension]:
    # The record's request may be of another version than this one, or of a project's own.
    asked = record.request.get("sweep")
    try:
        return _space.validate_json(json.dumps(asked["space"])) if asked else {}
    except (ValidationError, KeyError, TypeError, ValueError):
        return {}


def _build_axis(
    path: str, name: str, searched: Dimension | None, settings: Sequence[Setting]
) -> Axis:
    numbers = [
        float(value)
        for value in settings
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    is_range = searched is not None and not isinstance(searched, Choice)
    if len(numbers) < len(settings) or not (is_range or searched is None) or not settings:
        declared = searched.values if isinstance(searched, Choice) else ()
        levels = tuple(dict.fromkeys([*declared, *settings]))
        return Axis(path, name, _write_searched(searched), False, False, None, None, levels)
    ends, log, zero = list(numbers), False, False
    if searched is not None and not isinstance(searched, Choice):
        ends += [float(searched.low), float(searched.high)]
        log = searched.log and min(ends) >= 0
        zero = log and min(ends) == 0
        # A penalty that is off by default is 0, and has no place among powers of ten.
        ends = [end for end in ends if end > 0] if zero else ends
    return Axis(path, name, _write_searched(searched), log, zero, min(ends), max(ends), ())


def _write_searched(searched: Dimension | None) -> str:
    if searched is None:
        return ""
    if isinstance(searched, Choice):
        return "one of " + ", ".join(map(write_setting, searched.values))
    text = f"{write_setting(searched.low)} to {write_setting(searched.high)}"
    if searched.kind == "int" and searched.step != 1:
        text += f" by {searched.step}"
    return text + (" (log)" if searched.log else "")
