"""Turn times into whole periods, and periods into the features a forecast may know."""

from __future__ import annotations

import datetime
import math
import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, describe
from ml.datasets.columns import RawColumn, number_in, text_of

Period = Literal["day", "week", "month", "quarter", "year", "step"]
PER_YEAR = {"month": 12, "quarter": 4, "year": 1}
EPOCH = datetime.datetime(1970, 1, 1)
STEPS_END = 2**53
"""From here on float64 does not hold every whole number."""


def parse_periods(
    column: RawColumn, period: Period, where: str, row_numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return each row's time as int64 periods since 1970, weeks beginning on Monday.

    Times are ISO 8601 dates, or decimal years for months, quarters and years. With ``step``,
    whole numbers stand for themselves and anything else for its rank; a number from ±2^53 on,
    where float64 no longer tells neighbours apart, is refused. Raises DataInvalid
    naming the first value that is no time; ``row_numbers`` counts as the source does.
    """
    known: dict[str, datetime.datetime | float] = {}
    keys = [_time_key(value) for value in column]
    for place, key in enumerate(keys):
        if key in known:
            continue
        parsed = None if key is None else _parse(key, period)
        if key is None or parsed is None:
            raise _not_a_time(where, int(row_numbers[place]), column[place], period)
        known[key] = parsed
    kinds = {isinstance(value, float) for value in known.values()}
    if len(kinds) > 1:
        place = next(i for i, key in enumerate(keys) if isinstance(known[str(key)], float))
        raise _not_a_time(where, int(row_numbers[place]), column[place], period)
    if period == "step" and not all(
        isinstance(value, float) and value.is_integer() for value in known.values()
    ):
        ranks = {value: rank for rank, value in enumerate(sorted(set(known.values())))}
        steps = {key: ranks[value] for key, value in known.items()}
    else:
        steps = {key: _count(value, period) for key, value in known.items()}
    return np.array([steps[str(key)] for key in keys], dtype=np.int64)


def _time_key(value: object) -> str | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return text_of(value).strip()  # type: ignore[arg-type]  # a raw column holds only scalars


def iso_date(text: str) -> datetime.datetime | None:
    """Return the moment that ISO 8601 text names, in UTC without its zone; None if none."""
    try:
        moment = datetime.datetime.fromisoformat(
            f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text
        )
    except ValueError:
        return None
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        except OverflowError:  # the first or last day of all, in a zone that leads beyond it
            return None
    return moment


def _parse(text: str, period: Period) -> datetime.datetime | float | None:
    number = number_in(text)
    if number is not None and math.isfinite(number):
        if period == "step":
            return number if abs(number) < STEPS_END else None
        if period in PER_YEAR:
            return number if 1000 <= number < 3000 else None
    return iso_date(text)


def _count(value: datetime.datetime | float, period: Period) -> int:
    if isinstance(value, float):
        if period == "step":
            return int(value)
        # A decimal year such as 2000 + 1/12 falls a rounding error short of its month.
        return math.floor((value - EPOCH.year) * PER_YEAR[period] + 1e-6)
    days = (value - EPOCH).days
    months = (value.year - EPOCH.year) * 12 + value.month - 1
    counts = {"day": days, "week": (days + 3) // 7, "month": months, "quarter": months // 3}
    return counts.get(period, value.year - EPOCH.year)


def write_period(value: int, period: Period) -> str:
    """Return a period as a reader names it: its first day, 1970-01, 1970 Q1, 1970, or a step."""
    if period == "step":
        return str(value)
    months = value * {"year": 12, "quarter": 3}.get(period, 1)
    if period in ("day", "week"):
        return str(np.datetime64(value if period == "day" else value * 7 - 3, "D"))
    month = str(np.datetime64(months, "M"))
    if period == "quarter":
        return f"{month[:-3]} Q{value % 4 + 1}"
    return month if period == "month" else month[:-3]


def _not_a_time(where: str, row: int, value: object, period: Period) -> DataInvalid:
    expected = "an ISO 8601 date such as 2020-01-31"
    if period in PER_YEAR:
        expected += " or a decimal year"
    elif period == "step":
        expected += " or a number within ±2^53"
    return DataInvalid(
        f"{where}, row {row} is no time",
        code="bad_time",
        expected=expected,
        received=describe(value),
        remedy="mend the value, or leave the row out",
    )


def calendar_features(
    time: NDArray[np.int64], period: Period, column: str
) -> dict[str, NDArray[np.float64]]:
    """Return what a calendar says of each period, which is known however far ahead.

    Days give ``_day_of_week`` (0 is Monday) and ``_month``, weeks and months ``_month``,
    quarters ``_quarter``, years and steps nothing.
    """
    features: dict[str, NDArray[np.int64]] = {}
    if period in ("day", "week"):
        days = time if period == "day" else time * 7 - 3
        if period == "day":
            features["day_of_week"] = (days + 3) % 7
        features["month"] = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        features["month"] = features["month"] % 12 + 1
    elif period == "month":
        features["month"] = time % 12 + 1
    elif period == "quarter":
        features["quarter"] = time % 4 + 1
    return {f"{column}_{name}": values.astype(np.float64) for name, values in features.items()}


def lagged(
    target: NDArray[np.float64],
    time: NDArray[np.int64],
    series: NDArray[np.int32] | None,
    lag: int,
) -> NDArray[np.float64]:
    """Return the target of the same series ``lag`` periods earlier, NaN where there was none.

    Where a period has several rows their mean stands for it.
    """
    known, rank = np.unique(time, return_inverse=True)
    place = np.zeros(len(time), np.int64) if series is None else series.astype(np.int64)
    # By rank, since series times span of the periods may exceed int64.
    keys = place * len(known) + rank
    periods, member = np.unique(keys, return_inverse=True)
    means = np.bincount(member, weights=target) / np.bincount(member)
    earlier = np.searchsorted(known, time - lag).clip(max=len(known) - 1)
    wanted = place * len(known) + earlier
    found = np.searchsorted(periods, wanted).clip(max=len(periods) - 1)
    there = (known[earlier] == time - lag) & (periods[found] == wanted)
    # The mean of values near the largest float64 may exceed it.
    there &= np.isfinite(means[found])
    return np.where(there, means[found], np.nan)
