"""Define how a table is split, what forecasting it means, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ml.core.specs import Contract, Count, Fraction, Name, Scalar, Target

Task = Literal["classification", "regression", "forecasting"]
CheckName = Literal[
    "schema",
    "content",
    "repeats",
    "predictor",
    "time",
    "groups",
    "classes",
    "labels",
    "drift",
]


class SplitRule(Contract):
    """Say how rows are parted into train, validation and test.

    ``random`` is stratified by class where the task is a classification; ``time`` tests on
    the newest rows by ``column``; ``group`` never parts the rows that share ``column``;
    ``given`` tests on the rows whose ``column`` is ``test``, and trains on those where it is
    ``train``. ``test_fraction`` is of all rows, and counts for nothing where they are given;
    ``validation_fraction`` of the rows left for training.
    """

    rule: Literal["random", "time", "group", "given"] = "random"
    column: str | None = None
    test_fraction: Fraction = 0.25
    validation_fraction: Fraction = 0.15


class ForecastRule(Contract):
    """Say what a time step is, which column names the series, and how far ahead to look.

    ``season``, ``horizon`` and ``lags`` are counted in periods. A forecast of period t may use
    the target up to t - horizon. Each lag, of at least the horizon, adds one feature: the target
    of the same series that many periods earlier (the mean, where a period has several rows).
    """

    period: Literal["day", "week", "month", "quarter", "year", "step"]
    season: Count
    horizon: Count = 1
    series: str | None = None
    lags: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _lags_are_known(self) -> ForecastRule:
        early = [lag for lag in self.lags if lag < self.horizon]
        if early:
            raise ValueError(f"lags {early} are not known {self.horizon} periods ahead (horizon)")
        return self

    def lag_features(self, target: str) -> dict[str, int]:
        """Return the lags by the names of their features, in the order given."""
        return {f"{target}_lag_{lag}": lag for lag in self.lags}

    def window(self, target: str) -> tuple[str, ...]:
        """Return the names of the lags' features, from the oldest value to the newest."""
        features = self.lag_features(target)
        return tuple(sorted(features, key=lambda name: -features[name]))


def check_rules(task: Task, split: SplitRule, forecast: ForecastRule | None) -> None:
    """Raise ValueError where a dataset's task, split and forecast rules contradict each other."""
    if (task == "forecasting") != (forecast is not None):
        raise ValueError("a [forecast] table belongs to task = 'forecasting', and only there")
    if task == "forecasting" and split.rule != "time":
        raise ValueError("a forecasting dataset needs split.rule = 'time'")
    if split.rule != "random" and split.column is None:
        raise ValueError(f"split.rule = {split.rule!r} needs split.column")


class ColumnRule(Contract):
    """Declare what a column of the settled table holds; what is left out is not checked.

    ``low`` and ``high`` bound a numeric column's values, ends included. ``categories`` are those
    that a categorical one may have; of a target each must occur. ``missing`` is the largest
    share of missing values.
    """

    kind: Literal["numeric", "categorical"]
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    missing: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _kind_agrees(self) -> ColumnRule:
        if self.kind == "numeric" and self.categories:
            raise ValueError("categories belong to a categorical column")
        if self.kind == "categorical" and (self.low is not None or self.high is not None):
            raise ValueError("low and high belong to a numeric column")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        return self


class ExpectedBreach(Contract):
    """Declare that a check of the data's contract rightly objects here; to any column, or one."""

    check: CheckName
    column: str | None = None
    reason: Annotated[str, Field(min_length=10)]


class DescriptorData(Contract):
    """Point at a dataset by the path of its TOML descriptor."""

    kind: Literal["descriptor"] = "descriptor"
    path: str


class TableRules(Contract):
    """Say what a table is made for whose values are typed already.

    ``table_schema`` maps a column to what it holds.
    """

    id: Name
    task: Task
    target: str
    positive: str | None = None
    split: SplitRule = SplitRule()
    forecast: ForecastRule | None = None
    table_schema: dict[str, ColumnRule] = Field(default_factory=dict)
    expected_breaches: tuple[ExpectedBreach, ...] = ()

    @model_validator(mode="after")
    def _rules_agree(self) -> TableRules:
        check_rules(self.task, self.split, self.forecast)
        return self


class InlineData(TableRules):
    """Carry a small table in the request itself: column name to its values, None is missing."""

    kind: Literal["inline"] = "inline"
    id: Name = "inline"
    columns: dict[str, tuple[Scalar, ...]]


class FunctionData(TableRules):
    """Name a function of the user's project that returns the table as a pandas DataFrame."""

    kind: Literal["function"] = "function"
    function: Target
