"""Sum up sweeps: the tuned model beside the default one, the best settings, and the cost."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.heatmap import State, state_of
from harness.report.text import NOTHING, OUTCOMES, count, write_number, write_seconds
from harness.store.record import Record
from ml.core.contracts import SweepInfo, TrainResult, Trial
from ml.core.trials import Setting

TRIAL_OUTCOMES: Mapping[str, str] = {"pruned": "pruned", **dict(OUTCOMES.items())}
# Where nearly every hyperparameter stands, which therefore tells nothing.
PREFIXES = ("optimizer", "params")


@dataclass(frozen=True)
class Pair:
    """Hold one replicate's metric on the test rows; ``gain`` is positive where tuned is better."""

    replicate: int
    tuned: float | None
    default: float | None
    gain: float | None


@dataclass(frozen=True)
class Tuning:
    """Hold how the tuned model compares with the default one, on the same test rows.

    ``tuned`` and ``default`` are means over the replicates, and ``gain`` the mean of the paired
    differences; None where there is no such value. ``is_default`` says that no trial was better
    than the model as it was declared.
    """

    metric: str
    greater_is_better: bool
    pairs: tuple[Pair, ...]
    tuned: float | None
    default: float | None
    gain: float | None
    is_default: bool

    @property
    def gains(self) -> tuple[float, ...]:
        """Return the paired differences of the replicates that have one."""
        return tuple(pair.gain for pair in self.pairs if pair.gain is not None)


@dataclass(frozen=True)
class SweepLine:
    """Hold a sweep in one line; a sweep without a result has its ``outcome`` and ``reason``.

    ``settings`` are the best trial's, by hyperparameter. ``epochs`` and ``seconds`` are those of
    all its trials, the refits apart. ``anchor`` is the cell's fragment in the page of its run.
    """

    cell: str
    anchor: str
    dataset: str
    state: State
    outcome: str
    reason: str
    metric: str
    greater_is_better: bool
    trials: int = 0
    ok: int = 0
    pruned: int = 0
    failed: int = 0
    tuned: float | None = None
    spread: float | None = None
    default: float | None = None
    gain: float | None = None
    is_default: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    epochs: int = 0
    seconds: float | None = None


def build_sweeps(
    records: Sequence[Record], anchors: Mapping[str, str] | None = None
) -> tuple[SweepLine, ...]:
    """Sum up the records that are sweeps, in their order, also those that failed."""
    return tuple(
        _build_line(record, (anchors or {}).get(record.cell, ""))
        for record in records
        if record.mode == "sweep"
    )


def compare_tuned(result: TrainResult, info: SweepInfo) -> Tuning:
    """Compare the tuned model with the default one, replicate by replicate."""
    sign = 1 if result.greater_is_better else -1
    pairs = []
    for place, replicate in enumerate(result.replicates):
        tuned = replicate.metrics.get(result.metric)
        known = info.default_metrics[place] if place < len(info.default_metrics) else {}
        default = known.get(result.metric)
        gain = None if tuned is None or default is None else sign * (tuned - default)
        pairs.append(Pair(replicate.index, tuned, default, gain))
    return Tuning(
        metric=result.metric,
        greater_is_better=result.greater_is_better,
        pairs=tuple(pairs),
        tuned=_mean([pair.tuned for pair in pairs]),
        default=_mean([pair.default for pair in pairs]),
        gain=_mean([pair.gain for pair in pairs]),
        is_default=info.best == 0,
    )


def find_trial(info: SweepInfo, index: int) -> Trial | None:
    """Return the trial of an index, None where the sweep has none."""
    return next((trial for trial in info.trials if trial.index == index), None)


def name_settings(paths: Sequence[str]) -> dict[str, str]:
    """Return a short name for each hyperparameter's path; what would be one name stays whole."""
    short = {}
    for path in paths:
        first, _, rest = path.partition(".")
        short[path] = rest if first in PREFIXES and rest else path
    taken = Counter(short.values())
    return {path: path if taken[name] > 1 else name for path, name in short.items()}


def write_setting(value: Setting) -> str:
    """Return a setting as text: 0.00123, 64, true, 64 × 32."""
    if isinstance(value, tuple | list):
        return " × ".join(map(write_setting, value)) or NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def count_trials(trials: Sequence[Trial]) -> tuple[int, int, int]:
    """Return how many trials were ok, pruned, and failed."""
    outcomes = Counter(trial.outcome for trial in trials)
    ok, pruned = outcomes["ok"], outcomes["pruned"]
    return ok, pruned, len(trials) - ok - pruned


def describe_counts(trials: Sequence[Trial]) -> str:
    """Return how the trials ended in words: 20 trials: 11 ok, 8 pruned, 1 failed."""
    return f"{count(len(trials), 'trial')}: {list_counts(trials)}"


def list_counts(trials: Sequence[Trial]) -> str:
    """Return how many trials ended in which way: 11 ok, 8 pruned, 1 failed."""
    return write_counts(*count_trials(trials))


def write_counts(ok: int, pruned: int, failed: int) -> str:
    """Return numbers of trials with what they count, those that are none left out."""
    numbers = zip((ok, pruned, failed), ("ok", "pruned", "failed"), strict=True)
    return ", ".join(f"{number} {word}" for number, word in numbers if number)


def describe_sweep(result: TrainResult, info: SweepInfo) -> str:
    """Return in one phrase what a sweep found, beside what a model is described by."""
    tuning = compare_tuned(result, info)
    text = f"tuned: trial {info.best} of {describe_counts(info.trials)}"
    if tuning.is_default:
        return f"{text}; none was better than the default"
    if tuning.gain is None:
        return f"{text}; the default has no {tuning.metric}"
    return f"{text}; {say_gain(tuning)}"


def say_gain(tuning: Tuning) -> str:
    """Return in words how much better the tuned model is than the default one."""
    if not tuning.gain:
        return f"{tuning.metric} as the default's"
    word = "better" if tuning.gain > 0 else "worse"
    return f"{tuning.metric} {word} than the default's by {write_number(abs(tuning.gain))}"


def describe_budget(record: Record) -> str:
    """Return what a sweep was allowed: its limits, and how it searched, as it was asked for."""
    asked = record.request.get("sweep")
    if not isinstance(asked, dict):
        return NOTHING
    parts = []
    if isinstance(asked.get("trials"), int):
        parts.append(count(asked["trials"], "trial"))
    if asked.get("epochs"):
        parts.append(f"{asked['epochs']} epochs")
    if asked.get("seconds"):
        parts.append(write_seconds(asked["seconds"]))
    parts += [str(asked[name]) for name in ("sampler", "pruner") if asked.get(name)]
    return ", ".join(parts) or NOTHING


def _build_line(record: Record, anchor: str) -> SweepLine:
    state, result = state_of(record), record.result
    metric = record.score.metric if record.score else ""
    greater = record.score.greater_is_better if record.score else True
    outcome: str = OUTCOMES[record.outcome]
    if record.outcome == "ok" and state == "failed":
        outcome = "gate failed"
    head = (record.cell, anchor, record.dataset, state, outcome, record.reason, metric, greater)
    if result is None or result.sweep is None:
        return SweepLine(*head)
    info, tuning = result.sweep, compare_tuned(result, result.sweep)
    ok, pruned, failed = count_trials(info.trials)
    best = find_trial(info, info.best)
    names = name_settings(list(best.settings) if best else [])
    return SweepLine(
        *head[:6],
        metric=tuning.metric,
        greater_is_better=tuning.greater_is_better,
        trials=len(info.trials),
        ok=ok,
        pruned=pruned,
        failed=failed,
        tuned=tuning.tuned,
        spread=record.score.spread if record.score else None,
        default=tuning.default,
        gain=tuning.gain,
        is_default=tuning.is_default,
        settings=tuple(
            (names[path], write_setting(value)) for path, value in (best.settings.items())
        )
        if best
        else (),
        epochs=info.epochs,
        seconds=info.seconds,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
