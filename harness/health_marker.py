"""Read the arguments of the marker ``matrix_health`` into a frozen tuple."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, NamedTuple

import pytest

from harness.markers import near_miss

VERDICTS = ("healthy", "differs", "collapsed", "insufficient_power")


class HealthMarker(NamedTuple):
    """Hold what a test checks unless its call says otherwise; None is left to the check."""

    candidate: Any = None
    reference: Any = None
    group: str | None = None
    tolerance: float | None = None
    alpha: float | None = None
    seed: int | None = None
    verdict: tuple[str, ...] | None = None


FIELDS = HealthMarker._fields


def read_health_marker(mark: pytest.Mark | None) -> HealthMarker:
    """Return the marker's arguments, empty without one; raises ValueError for what is wrong."""
    if mark is None:
        return HealthMarker()
    if mark.args:
        raise ValueError(
            f"@pytest.mark.matrix_health takes no positional arguments, received {mark.args!r}; "
            f"name them: {', '.join(FIELDS)}"
        )
    for name in mark.kwargs:
        if name not in FIELDS:
            raise ValueError(
                f"@pytest.mark.matrix_health knows no argument {name!r}"
                f"{near_miss(name, FIELDS)}; choose from {', '.join(FIELDS)}"
            )
    given = {name: value for name, value in mark.kwargs.items() if value is not None}
    if "verdict" in given:
        given["verdict"] = read_verdicts(given["verdict"])
    for name, kinds in (("tolerance", int | float), ("alpha", int | float), ("seed", int)):
        value = given.get(name)
        if value is not None and (not isinstance(value, kinds) or not isfinite(value)):
            raise ValueError(
                f"@pytest.mark.matrix_health({name}=…) takes a number, received {value!r}"
            )
    return HealthMarker(**given)


def read_verdicts(verdict: str | Iterable[str]) -> tuple[str, ...]:
    """Return the verdicts that a test is content with; raises ValueError for what is none."""
    names = (verdict,) if isinstance(verdict, str) else tuple(verdict)
    for name in names:
        if name not in VERDICTS:
            raise ValueError(
                f"there is no verdict {name!r}{near_miss(str(name), VERDICTS)}; "
                f"choose from {', '.join(VERDICTS)}"
            )
    if not names:
        raise ValueError("no verdict is allowed; leave the argument out to allow all")
    return names
