"""Define a sweep: the space it searches, how it searches, and what became of each trial."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from ml.core.specs import Contract, Count, NotNegative, Positive, Scalar

# What one trial may take for a hyperparameter.
Setting = Scalar | tuple[Scalar, ...]
Sampler = Literal["random", "grid", "tpe", "gp", "cmaes", "pbt"]
Pruner = Literal["none", "median", "wilcoxon", "successive_halving", "hyperband"]
TrialOutcome = Literal[
    "ok", "pruned", "error", "timeout", "out_of_memory", "crashed", "diverged", "data_invalid"
]


def _check_range(low: float, high: float, log: bool) -> None:
    if low > high:
        raise ValueError(f"low {low} is above high {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range begins above 0, not at {low}")


class FloatRange(Contract):
    """Search real numbers from ``low`` to ``high``, on a logarithmic scale where ``log``."""

    kind: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatRange:
        _check_range(self.low, self.high, self.log)
        return self


class IntRange(Contract):
    """Search whole numbers from ``low`` to ``high`` by ``step``; ``log`` and a step exclude."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    step: Count = 1
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> IntRange:
        if self.log and self.step != 1:
            raise ValueError("log and a step other than 1 exclude each other")
        _check_range(self.low, self.high, self.log)
        return self


class Choice(Contract):
    """Search among values without an order."""

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Setting, ...], Field(min_length=1)]


Dimension = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]
# By where the hyperparameter stands in the model: ``optimizer.learning_rate``, ``batch_size``,
# ``params.max_depth``; ``hidden.layers`` and ``hidden.units`` stand for that many equal layers.
SearchSpace = Annotated[dict[str, Dimension], Field(min_length=1)]


class SweepSpec(Contract):
    """Say what a sweep searches, how, and when it ends: by whichever of its limits comes first.

    ``trials`` counts them, the model as it was declared being the first; ``epochs`` are those of
    all trials together (an estimator's whole training counts as one), ``seconds`` wall seconds of
    the search. With ``patience`` the sweep ends after so many trials without a better one. Trials
    are asked for ``batch`` at a time, alike for every framework, and told together. ``folds`` is
    the number of validation parts on which a trial is tried; ``wilcoxon`` compares trials fold by
    fold and needs 3 of them. Trials are appended to ``journal`` as they end, and those that stand
    there from a sweep of the same request are not trained again.
    """

    space: SearchSpace
    sampler: Sampler = "tpe"
    pruner: Pruner = "successive_halving"
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    epochs: Count | None = None
    seconds: Positive | None = None
    patience: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    folds: Annotated[int, Field(ge=1, le=10)] = 1
    journal: str | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> SweepSpec:
        if self.pruner == "wilcoxon" and self.folds < 3:
            raise ValueError("the wilcoxon pruner compares folds: it needs folds of at least 3")
        return self


class Trial(Contract):
    """Hold one trial: its settings, how it ended, and its metric on the validation rows.

    ``value`` is the mean over the folds, None where none was reached, with the ``reason``.
    ``steps`` are the values on the way, each after so many epochs (or folds, where there are
    several). ``seconds`` are its share of the time in which it was trained.
    """

    index: Annotated[int, Field(ge=0)]
    settings: dict[str, Setting]
    outcome: TrialOutcome
    reason: str = ""
    value: float | None = None
    steps: tuple[tuple[PositiveInt, float], ...] = ()
    epochs: Annotated[int, Field(ge=0)] = 0
    seconds: NotNegative = 0.0

    @model_validator(mode="after")
    def _tells_why(self) -> Trial:
        if self.outcome not in ("ok", "pruned") and not self.reason:
            raise ValueError(f"a trial with the outcome {self.outcome!r} tells its reason")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError("a value is a finite number")
        return self


class SweepInfo(Contract):
    """Tell of a sweep: its trials, the best of them, and how the tuned model compares.

    Trial 0 is the model as it was declared. ``best`` is the index of the trial whose settings
    were refitted: everything else in the result is that model's, measured on test rows that no
    trial saw. ``default_metrics`` are the declared model's on the same rows, by replicate.
    ``importance`` is each hyperparameter's share of the variance of the values, by
    ``importance_method``; empty where there are too few trials to tell. ``ended`` names the limit
    that ended the search; ``resumed_trials`` stood in the journal already. ``epochs`` and
    ``seconds`` are what all trials cost.
    """

    trials: Annotated[tuple[Trial, ...], Field(min_length=1)]
    best: Annotated[int, Field(ge=0)]
    validation_rows: PositiveInt
    default_metrics: tuple[dict[str, float], ...]
    importance: dict[str, NotNegative] = Field(default_factory=dict)
    importance_method: str = ""
    ended: Literal["trials", "epochs", "seconds", "patience", "exhausted"]
    resumed_trials: Annotated[int, Field(ge=0)] = 0
    epochs: Annotated[int, Field(ge=0)]
    seconds: NotNegative
