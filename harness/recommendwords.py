"""Put what is recommended for a table into lines."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.text import count, write_gain, write_number, write_seconds
from harness.store.gains import Gained
from harness.store.record import Record
from harness.terminal import lay_out
from ml.core.recommendations import Plan, ProxyGain, Recommendation

COLUMNS = ("action", "for", "expected gain", "cost", "rows", "added", "proxies", "seconds")
NOTHING = "–"
# What is gained less than this, chance gains as well.
WORTH = 0.005


def describe_cell(action: str, record: Record, gain: ProxyGain | None) -> str:
    """Return one line on a proxy that was trained."""
    name = action or "as it is"
    if record.outcome != "ok":
        return f"{record.algorithm}: {name}: {record.outcome}, {record.reason}"
    metric = gain.metric if gain is not None else record.result and record.result.metric
    change = f" {write_gain(gain.gain)} {metric}" if gain is not None else ""
    return f"{record.algorithm}: {name}{change}, {write_seconds(record.seconds)}"


def describe_tried(
    plan: Plan, recommendations: Sequence[Recommendation], settled: Sequence[Gained]
) -> list[str]:
    """Return what was gained by what was done, the ranking, and why each action is in it."""
    lines = [
        f"{one.action} of {one.done[:10]} gained {write_gain(one.gain)}, "
        f"score {write_gain(one.lift)}"
        for one in settled
    ]
    if not recommendations:
        return [*lines, "nothing is recommended"]
    rows = [COLUMNS]
    for one in recommendations:
        rows.append(
            (
                one.action,
                one.dimension,
                write_gain(one.gain),
                f"{one.cost:.2f}",
                NOTHING if one.rows is None else write_number(one.rows),
                NOTHING if one.added is None else write_number(one.added),
                f"{sum(proxy.gain is not None for proxy in one.proxies)}"
                + (f" and {one.past} before" if one.past else ""),
                write_seconds(one.seconds),
            )
        )
    lines += lay_out(rows, left=2)
    lines += ["", *(f"{one.action}: {one.reason}" for one in recommendations)]
    lines += ["", f"ranked by {_by(plan, recommendations)}"]
    gains = [one.gain for one in recommendations if one.gain is not None]
    if gains and max(gains) < WORTH:
        lines.append(f"no action gains {WORTH} or more: for this target none may be worth it")
    return lines


def _by(plan: Plan, recommendations: Sequence[Recommendation]) -> str:
    if any(one.gain is not None for one in recommendations):
        rows = count(plan.test_rows, "row")
        return f"expected gain over cost; gains are of proxies tested on {rows} of the reference"
    return "what the dimension's score lost, over cost; no proxy was trained"
