"""Put a trend into the words that pages, feed and tables share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.text import count
from harness.trends.trend import Since, State, Trend

# The space does not break, so that a number keeps its sign.
PERCENT = "\N{NO-BREAK SPACE}%"
MEASURES: dict[str, str] = {
    "score": "score",
    "fit": "fit time",
    "seconds": "total time",
    "peak_memory": "peak memory",
}
SYMBOLS: dict[State, str] = {"regressed": "↘", "suspect": "?", "improved": "↗", "unchanged": "→"}
# What a reader must see first.
ORDER: tuple[State, ...] = ("regressed", "suspect", "improved", "unchanged")


def write_measure(measure: str) -> str:
    """Return a measure's name in words."""
    return MEASURES.get(measure, measure.replace("_", " "))


def write_effect(effect: float | None) -> str:
    """Return a relative change: +12.3 %, −0.04 %; nothing for None."""
    if effect is None:
        return ""
    percent = 100 * effect
    size = abs(percent)
    if size >= 100:
        text = f"{size:.0f}"
    elif size >= 0.095:
        text = f"{size:.1f}"
    else:
        text = f"{size:.1g}"
    return f"{'−' if percent < 0 else '+'}{text}{PERCENT}" if percent else f"0{PERCENT}"


def write_interval(interval: tuple[float, float] | None) -> str:
    """Return a confidence interval of a relative change; nothing for None."""
    if interval is None:
        return ""
    low, high = (write_effect(bound) for bound in interval)
    return f"{low.removesuffix(PERCENT)} to {high}"


def write_commits(since: Since | None) -> str:
    """Return the range of commits that a change came with; nothing for None."""
    if since is None:
        return ""
    before, after = (
        commit[:10] if commit else "unknown" for commit in (since.commit_before, since.commit_after)
    )
    return f"{before} in both" if before == after else f"{before}..{after}"


def write_since(since: Since | None, places: Mapping[str, int]) -> str:
    """Return since which run a change holds; ``places`` counts runs from the newest, at 0."""
    if since is None:
        return ""
    place = places.get(since.run_after)
    if place is None:
        return f"since run {since.run_after}"
    if place == 0:
        return "since this run"
    return f"since {count(place, 'run')} ago"


def choose_worst(trends: Sequence[Trend]) -> Trend | None:
    """Return the trend that a reader must see first; None of none."""
    return min(trends, key=lambda one: ORDER.index(one.state), default=None)
