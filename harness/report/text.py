"""Put numbers, times and sizes into short words for the page."""

from __future__ import annotations

from datetime import UTC, datetime

from ml.core.contracts import Outcome

NOTHING = "–"
OUTCOMES: dict[Outcome, str] = {
    "ok": "ok",
    "error": "error",
    "timeout": "timeout",
    "out_of_memory": "out of memory",
    "crashed": "crashed",
    "diverged": "diverged",
    "data_invalid": "invalid data",
    "unavailable": "unavailable",
}


def write_number(value: float | None, digits: int = 3) -> str:
    """Return a number to so many significant digits: 0.500, 12.3, 28.3k; None is a dash."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if power < -4 or power >= 12:
        return f"{mantissa}e{power}"
    thousands = max(0, power // 3)
    places = max(0, digits - 1 - (power - 3 * thousands))
    return f"{value / 1000**thousands:.{places}f}{('', 'k', 'M', 'G')[thousands]}"


def write_gain(value: float | None) -> str:
    """Return a difference with its sign, to three significant digits; None is a dash."""
    sign = "" if not value else "+" if value > 0 else "−"
    return NOTHING if value is None else sign + write_number(abs(value))


def write_seconds(value: float | None) -> str:
    """Return a duration given in seconds: 3.2 ms, 41.0 s, 3 min 07 s, 2 h 05 min."""
    if value is None:
        return NOTHING
    if value < 0.9995:
        return f"{write_number(value * 1000, 2)} ms" if value else "0 s"
    if value < 90:
        return f"{write_number(value)} s"
    whole = round(value)
    if whole < 5400:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def write_bytes(value: float | None) -> str:
    """Return a size given in bytes, in powers of 1024: 512 B, 1.4 KiB, 24 GiB."""
    if value is None:
        return NOTHING
    size, unit = float(value), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"


def write_moment(text: str | None) -> str:
    """Return an ISO 8601 time as minutes in UTC; a text that is none is returned as it is."""
    if text is None:
        return "at an unknown time"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 cell, 2 cells."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
