"""Keep the levels that a series left for worse or better, until it returns to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Change:
    """Hold one told change: ``worse`` or better, from level ``before`` to level ``after``.

    ``first`` is the place of the first point on the new level, ``earliest`` and ``latest`` the
    places at which the change may have come, and ``at`` that of the run which told it.
    ``error`` is that of ``before``, ``spread`` that of single values, and ``after`` the level of
    ``count`` values, reruns or not; ``ratio`` is the likelihood ratio that decided.
    """

    worse: bool
    before: float
    after: float
    first: int
    earliest: int
    latest: int
    at: int
    error: float = 0.0
    spread: float = 0.0
    count: int = 1
    reruns: bool = False
    ratio: float = 0.0


class Ledger:
    """Hold the changes that are open, the newest last; larger levels are worse.

    A regression is closed when the series comes back to the level before it, within
    ``tolerance``; one that comes back in part stays open with the level that is left. A change
    for worse is always entered, also after an improvement: what was won is lost.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.open: list[Change] = []
        self.returned: Change | None = None

    def enter(self, change: Change) -> None:
        """Enter a change, and close those that it undoes."""
        self.returned = None
        while self.open:
            top = self.open[-1]
            if abs(change.after - top.before) < self.tolerance and top.worse != change.worse:
                self.returned = self.open.pop()
                return
            if change.worse or not top.worse:
                break
            if change.after > top.before:
                self.open[-1] = replace(top, after=change.after)
                return
            self.open.pop()
            change = replace(change, before=top.before)
        self.open.append(change)

    def accept(self, place: int) -> None:
        """Close every change that began at or before a place: its level is the accepted one."""
        self.open = [change for change in self.open if change.first > place]

    def newest(self, places: Sequence[int], holds: int) -> Change | None:
        """Return the change to speak of after these places; ``holds`` bounds one for better."""
        for change in reversed(self.open):
            if change.worse or change.at in places[-holds:]:
                return change
        return None


def accepted_place(runs: Sequence[str], accepted: str | None) -> int:
    """Return the place of the newest run that is not after an accepted one, -1 if there is none."""
    if accepted is None:
        return -1
    return sum(run <= accepted for run in runs) - 1
