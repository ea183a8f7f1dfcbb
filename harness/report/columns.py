"""Turn a table's profile into what its page shows: a row per column, and the first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.cells import Number
from harness.report.text import NOTHING, count, write_number

WIDTH = 96
HEIGHT = 24
GAP = 1
WIDEST = 13


@dataclass(frozen=True)
class ColumnRow:
    """Hold one column's statistics; ``bars`` is an SVG path in ``WIDTH`` × ``HEIGHT``."""

    name: str
    role: str
    type: str
    numbers: tuple[Number, ...]
    frequent: str
    bars: str
    bars_title: str


NUMBER_COLUMNS = ("missing", "distinct", "min", "mean", "median", "max")


@dataclass(frozen=True)
class TableProfile:
    """Hold what is known of a table: facts, statistics and the first rows, as texts.

    A missing value of the preview is None. ``sampled`` says so where the statistics stand on a
    sample.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sampled: str
    columns: tuple[ColumnRow, ...]
    heads: tuple[tuple[str, bool], ...]
    preview: tuple[tuple[str | None, ...], ...]
    cut: str


def build_profile(profile: Mapping[str, Any]) -> TableProfile:
    """Build the view of a profile as ``mlmatrix data profile --json`` writes it."""
    rows, sampled = profile["rows"], profile["sampled"]
    columns = profile["columns"]
    preview = profile["preview"]
    shown = columns[: len(preview[0]) if preview else 0]
    cut = ""
    if len(shown) < len(columns):
        cut = f"The first {len(shown)} of {len(columns):,} columns."
    facts = [
        ("Rows", f"{rows:,}"),
        ("Columns", f"{len(columns):,}"),
        ("Target", profile["target"]),
        ("Split", _describe_split(profile)),
        ("Content", profile["content_sha256"][:12]),
        ("Origin", profile["origin"]),
        ("Licence", profile["licence"]),
    ]
    if profile["note"]:
        facts.append(("Note", profile["note"]))
    return TableProfile(
        title=profile["title"],
        facts=tuple(facts),
        sampled=f"Statistics of {sampled:,} rows, drawn at random with a fixed seed from {rows:,}."
        if sampled < rows
        else "",
        columns=tuple(_build_column(column, sampled) for column in columns),
        heads=tuple((column["name"], _is_number(column)) for column in shown),
        preview=tuple(tuple(_write_value(value) for value in row) for row in preview),
        cut=cut,
    )


def _describe_split(profile: Mapping[str, Any]) -> str:
    by = f" by {profile['split_column']}" if profile["split_column"] else ""
    return f"{profile['split']}{by}, {profile['test_fraction']:.0%} for testing"


def _is_number(column: Mapping[str, Any]) -> bool:
    return bool(column["type"] == "numeric" and column["role"] != "time")


def _write_value(value: str | float | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{value:.6g}"


def _build_column(column: Mapping[str, Any], rows: int) -> ColumnRow:
    missing = column["missing"]
    share = f" ({missing / rows:.1%})" if missing else ""
    counts = column.get("histogram") or [number for _, number in column.get("top", ())]
    others = column.get("others", 0)
    is_time = "first" in column
    ends = {"min": column.get("first"), "max": column.get("last")} if is_time else {}
    frequent = ", ".join(
        f"{level} ({number / rows:.0%})" for level, number in column.get("top", ())
    )
    if others:
        frequent += f", others ({others / rows:.0%})"
    return ColumnRow(
        name=column["name"],
        role=column["role"],
        type="time" if is_time else column["type"],
        numbers=(
            Number(f"{missing:,}{share}", missing),
            Number(f"{column['distinct']:,}", column["distinct"]),
            *(
                Number(
                    ends.get(name) or (NOTHING if is_time else write_number(column.get(name), 4)),
                    column.get(name),
                )
                for name in ("min", "mean", "median", "max")
            ),
        ),
        frequent=frequent,
        bars=draw_bars([*counts, others] if others else counts),
        bars_title=_describe_bars(column, frequent, len(counts)),
    )


def _describe_bars(column: Mapping[str, Any], frequent: str, bars: int) -> str:
    if "histogram" not in column:
        return frequent
    low, high = column.get("first"), column.get("last")
    if low is None:
        low, high = write_number(column["min"], 4), write_number(column["max"], 4)
    peak = max(column["histogram"])
    return f"{count(bars, 'bin')} from {low} to {high}; the fullest has {peak:,} rows"


def draw_bars(counts: Sequence[int]) -> str:
    """Return a bar chart as an SVG path; a bar that is not empty is at least one unit high."""
    top = max(counts, default=0)
    if not top:
        return ""
    width = min(WIDTH / len(counts), WIDEST)
    parts = []
    for place, number in enumerate(counts):
        if not number:
            continue
        height = max(1, round(HEIGHT * number / top))
        left = round(place * width, 1)
        wide = round(width - GAP, 1)
        parts.append(f"M{left:g} {HEIGHT}v-{height}h{wide:g}v{height}z")
    return "".join(parts)
