"""Say which known kind of damage a report resembles: the contract of a match."""

from __future__ import annotations

from ml.core.specs import Contract, NotNegative
from ml.health.report import Share


class Match(Contract):
    """Tell a kind of damage that a report resembles.

    ``distance`` is that of the nearest signature of the kind, in widths of a likeness, shortened
    where the kind has few of them; ``confidence`` how probable the kind is, where every other
    report is of no known kind.
    """

    kind: str
    distance: NotNegative
    confidence: Share
