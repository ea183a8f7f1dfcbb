"""Say how a candidate table stands beside its reference: the contract of a health report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ml.core.specs import Contract, Fraction, NotNegative

SCHEMA_VERSION = 1
DimensionName = Literal[
    "distribution",
    "composition",
    "diversity",
    "dependence",
    "information",
    "spectrum",
    "coverage",
    "uniqueness",
]
# Standard deviations that the largest of many columns seldom comes to by chance.
RARELY = 4.0
Verdict = Literal["healthy", "differs", "collapsed", "insufficient_power"]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=0, le=100)]


class Finding(Contract):
    """Tell which column, or pair of columns ``a × b``, stands out by which statistic.

    ``effect`` is the statistic in both whole tables, in its own unit; ``standing`` how far the
    sample's lies from its permutations' mean, in their standard deviations.
    """

    column: str
    statistic: str
    effect: float
    standing: float


class Dimension(Contract):
    """Hold one dimension: its effect in the whole tables, and its permutation p.

    ``effect`` is in the dimension's own unit, see ``ml.health.judge.EFFECTS``; ``null`` is the
    95 % quantile of the same effect under permutation. ``p`` is None, with a reason in the
    report, where a statistic was no number. ``score`` is 100 where the effect is within the null,
    or not significant.
    """

    name: DimensionName
    effect: NotNegative
    null: NotNegative
    p: Share | None
    score: Score
    worst: tuple[Finding, ...] = ()

    @property
    def outstanding(self) -> tuple[Finding, ...]:
        """Return the worst finding, and those others that chance alone rarely shows."""
        return tuple(
            one for place, one in enumerate(self.worst) if not place or one.standing >= RARELY
        )


class SchemaDifference(Contract):
    """Tell a column that one side lacks, or that is of another kind."""

    column: str
    change: Literal["missing", "added", "kind"]
    reference: str | None = None
    candidate: str | None = None


class ClassifierTest(Contract):
    """Hold the classifier two-sample test (Lopez-Paz and Oquab 2017) on one hold-out split.

    ``auc`` is of telling the candidate's held-out rows from the reference's. Without it,
    ``reason`` says why.
    """

    auc: Share | None = None
    p: Share | None = None
    rows: int = 0
    reason: str | None = None


class Side(Contract):
    """Say how large a table is, and how many of its rows were tested."""

    rows: int
    tested: int


class HealthReport(Contract):
    """Hold what a check of a candidate against its reference found.

    ``p`` is the permutation p of all dimensions together, and below ``alpha`` the tables differ.
    ``losses`` name what was lost where the verdict is collapsed. ``detectable`` is the smallest
    shift of one column that would probably be seen, in ``detectable_unit``. ``effects`` has one
    number a statistic, ``dimension.statistic``, and one a dimension: the vector that tells kinds
    of damage apart. ``reasons`` are sentences for a reader.
    """

    schema_version: Literal[1] = 1
    verdict: Verdict
    score: Score
    p: Share | None
    alpha: Fraction
    seed: int
    tolerance: NotNegative
    group: str | None
    reference: Side
    candidate: Side
    dimensions: tuple[Dimension, ...]
    schema_differences: tuple[SchemaDifference, ...]
    losses: tuple[str, ...]
    classifier: ClassifierTest
    detectable: NotNegative | None
    detectable_unit: Literal["standard deviations", "share of rows"] | None
    effects: dict[str, float]
    reasons: tuple[str, ...]
