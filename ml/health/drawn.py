"""Say what a page draws of two tables: the contract of distributions and correlations."""

from __future__ import annotations

from typing import Literal

from ml.core.specs import Contract, NotNegative
from ml.health.report import DimensionName, Share

Sides = tuple[Share, Share]


class Bar(Contract):
    """Hold the share of all rows in one bin: of the reference, then of the candidate.

    A bin of numbers is from ``low`` to ``high``, one of which is None beyond the outermost bins;
    a category has its text as ``label``, and one that stands for all others has ``levels``.
    """

    shares: Sides
    low: float | None = None
    high: float | None = None
    label: str | None = None
    levels: int = 0


class Distribution(Contract):
    """Hold a column of both tables in the same bins.

    Numbers of a datetime column are seconds since 1970, those of a text its length in characters.
    ``missing`` is the share of rows without a value; ``medians`` are of the known values, to a
    thousandth of the reference's range. ``distance`` is the total variation between the sides,
    missing values included. ``dimensions`` are those in which the column stands out significantly.
    """

    column: str
    kind: Literal["numeric", "datetime", "categorical", "boolean", "text", "empty"]
    bars: tuple[Bar, ...]
    missing: Sides
    medians: tuple[float | None, float | None] = (None, None)
    distance: Share
    dimensions: tuple[DimensionName, ...] = ()


class Correlations(Contract):
    """Hold how columns correlate in both tables, [columns][columns]; None on the diagonal.

    A value is a correlation of normal scores, or of indicators of categories and gaps: of a pair
    of columns that pair of scores which differs most between the tables.
    """

    columns: tuple[str, ...]
    reference: tuple[tuple[float | None, ...], ...]
    candidate: tuple[tuple[float | None, ...], ...]


class Drawing(Contract):
    """Hold what is drawn of two tables, the columns that changed most first.

    ``columns`` counts those the tables share, of which only some are drawn. ``floors`` has the
    effect of each dimension at which its score is 0.
    """

    columns: int
    distributions: tuple[Distribution, ...]
    correlations: Correlations | None
    floors: dict[str, NotNegative]
