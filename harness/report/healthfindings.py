"""Show what follows from a check: rows that stand out, known damage it resembles, what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.healthcolumns import write_share
from harness.report.text import count, write_gain, write_number
from ml.core.recommendations import Recommendation
from ml.health.located import CHANNELS, Channel, FlaggedRow, LocatedRows, Surprise
from ml.health.matched import Match

ROWS = 10
COLUMNS = 3
ABOUT: dict[Channel, tuple[str, str]] = {
    "repeated": ("Repeated", "rows that the candidate has more than once, beyond the reference"),
    "copied": ("Copied", "rows that are the reference's own"),
    "cell": ("Strange values", "rows with a value beyond what its column has in the reference"),
    "distance": ("Far away", "rows far from all rows of the reference"),
    "classifier": ("Told apart", "rows that a classifier knows as the candidate's"),
}
ACTIONS = {
    "drop_repeated": "Drop repeated rows",
    "drop_copies": "Drop rows copied from the reference",
    "drop_flagged": "Drop flagged rows",
    "mend_flagged": "Mend flagged values",
    "restore_levels": "Restore categories of",
    "reweight_target": "Weigh rows by their target",
    "add_reference": "Add rows of the reference",
}
STATISTICS = {
    "chi2": "shares of values",
    "tv": "shares of values",
    "missing": "missing values",
    "levels": "shares of categories",
    "words": "words of texts",
    "lost_levels": "categories lost",
    "rare_levels": "rare categories",
    "entropy": "entropy",
    "spread": "spread",
    "tails": "tails",
    "far": "far tails",
    "farthest": "farthest tails",
    "ks": "ranks",
    "cvm": "ranks",
    "mean": "mean",
    "w1": "distance",
    "correlation": "correlation",
    "fisher": "correlation",
    "strength": "strength of all correlations",
    "mutual": "mutual information",
    "cells": "joint shares",
    "eigenvalues": "eigenvalues",
    "rank_loss": "effective rank lost",
    "rank": "effective rank",
    "mixing": "neighbours of one's own side",
    "recall": "reference rows without a neighbour",
    "precision": "candidate rows without a neighbour",
    "density": "candidate rows closer together",
    "duplicates": "repeated rows",
    "copies": "rows copied from the reference",
}


@dataclass(frozen=True)
class RowLine:
    """Hold one flagged row; ``columns`` are names, values, and how rare the value is."""

    row: str
    confidence: str
    columns: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class RowGroup:
    """Hold the rows that one channel flagged, the surest first, and how many there are."""

    channel: Channel
    title: str
    about: str
    found: str
    lines: tuple[RowLine, ...]
    more: str


@dataclass(frozen=True)
class FlaggedPart:
    """Hold the part of the page on rows."""

    summary: str
    groups: tuple[RowGroup, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class MatchLine:
    """Hold a known kind of damage; ``bar`` is its confidence of 100."""

    kind: str
    confidence: str
    bar: float


@dataclass(frozen=True)
class AdviceLine:
    """Hold a recommendation, in words."""

    action: str
    columns: str
    dimension: str
    reason: str
    price: str


def build_rows(located: LocatedRows) -> FlaggedPart:
    """Return the flagged rows by the channel that saw them best."""
    groups = []
    for channel in CHANNELS:
        found = located.found.get(channel, 0)
        if not found:
            continue
        rows = [row for row in located.flagged if row.channel == channel][:ROWS]
        title, about = ABOUT[channel]
        left = found - len(rows)
        groups.append(
            RowGroup(
                channel=channel,
                title=title,
                about=about,
                found=f"{found:,}",
                lines=tuple(_build_line(row) for row in rows),
                more=f"and {left:,} more" if left else "",
            )
        )
    total = sum(located.found.values())
    summary = (
        f"{total:,} of {located.total:,} rows are not accounted for by the reference; at most "
        f"{located.level:.0%} of those that a question flagged are expected to be false."
        if total
        else f"None of {located.total:,} rows stands out."
    )
    return FlaggedPart(summary, tuple(groups), tuple(tell_reason(text) for text in located.reasons))


def _build_line(row: FlaggedRow) -> RowLine:
    # As sure as it may be, it is no certainty.
    confidence = "> 99.9 %" if row.confidence > 0.999 else f"{row.confidence * 100:.1f} %"
    columns = tuple(
        (one.column, _write_value(one), _write_rarity(one)) for one in row.columns[:COLUMNS]
    )
    return RowLine(f"{row.row:,}", confidence, columns)


def _write_value(one: Surprise) -> str:
    if one.value is None:
        return "missing"
    return one.value if isinstance(one.value, str) else f"{one.value:.6g}"


def _write_rarity(one: Surprise) -> str:
    """Return the share of the reference's values that are as far out, as one in so many."""
    if one.surprise < 1.5:
        return ""
    return f"1 in {write_number(2.718281828459045**one.surprise, 2)}"


def build_matches(matches: Sequence[Match]) -> tuple[MatchLine, ...]:
    """Return the known kinds of damage, the likeliest first."""
    return tuple(
        MatchLine(
            kind=one.kind.replace("_", " "),
            confidence=write_share(one.confidence),
            bar=round(100 * one.confidence, 1),
        )
        for one in matches
    )


def build_advice(recommendations: Sequence[Recommendation]) -> tuple[AdviceLine, ...]:
    """Return what to do, the best first."""
    lines = []
    for one in recommendations:
        price = [f"gain {write_gain(one.gain)}"] if one.gain is not None else []
        price += [count(one.rows, "row")] if one.rows is not None else []
        price += [f"{one.added:,} added"] if one.added else []
        lines.append(
            AdviceLine(
                action=_name_action(one.action),
                columns=", ".join(one.columns),
                dimension=one.dimension,
                reason=tell_reason(one.reason),
                price=", ".join(price),
            )
        )
    return tuple(lines)


def _name_action(action: str) -> str:
    name = action.partition(":")[0]
    return ACTIONS.get(name, tell_reason(name.replace("_", " ")))


def tell_reason(text: str) -> str:
    """Return a reason as a sentence, statistics in it by what they look at."""
    told = re.sub(r"\((\w+)\)", lambda found: f"({name_statistic(found[1])})", text)
    return told[:1].upper() + told[1:]


def name_statistic(name: str) -> str:
    """Return what a statistic looks at."""
    return STATISTICS.get(name, name.replace("_", " "))
