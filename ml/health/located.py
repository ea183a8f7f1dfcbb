"""Say which rows of a candidate stand out, and why: the contract of the localizer."""

from __future__ import annotations

from typing import Literal

from ml.core.specs import Contract, Fraction, NotNegative
from ml.health.report import Share

Channel = Literal["cell", "distance", "classifier", "repeated", "copied"]
# In the order in which one is named where several are equally sure.
CHANNELS: tuple[Channel, ...] = ("cell", "distance", "classifier", "repeated", "copied")


class Surprise(Contract):
    """Tell how surprising a row's value in one column is.

    ``surprise`` is −ln of the share of the reference's values that are as far out, or as rare, in
    nats. ``attribution`` is what the column adds to what the channel saw: its share of the squared
    distance to the nearest rows of the reference, or the integrated gradient of a classifier's
    logit (Sundararajan et al. 2017); None where neither was asked. ``value`` is None where it is
    missing; a moment is in the ISO format, UTC.
    """

    column: str
    value: str | float | None
    surprise: NotNegative
    attribution: float | None = None


class FlaggedRow(Contract):
    """Hold one row of the candidate that its reference does not account for.

    ``row`` is its position, from 0. ``confidence`` is 1 minus its p, adjusted for all rows that
    were looked at (Benjamini and Hochberg 1995). ``channel`` saw it best: ``distance`` to the
    reference's rows, one ``cell`` beyond what its column has, a ``classifier``'s score, a row that
    is ``repeated`` in the candidate, or ``copied`` from the reference. ``columns`` are those that
    surprise most, first the one that does so most.
    """

    row: int
    confidence: Share
    channel: Channel
    columns: tuple[Surprise, ...]


class LocatedRows(Contract):
    """Hold the rows of a candidate that stand out, the surest first.

    ``total`` are the candidate's rows, ``rows`` those that were looked at by every channel, and
    ``scanned`` those looked at by the channels cell, repeated and copied. At ``level`` so many
    of the flagged rows are expected to be false, at most. ``found`` counts those that each channel
    flagged, of which ``flagged`` has the surest. ``reasons`` are sentences for a reader: what could
    not be looked at, and why.
    """

    schema_version: Literal[1] = 1
    total: int
    rows: int
    scanned: int
    level: Fraction
    seed: int
    tolerance: NotNegative
    group: str | None
    found: dict[Channel, int]
    flagged: tuple[FlaggedRow, ...]
    reasons: tuple[str, ...] = ()
