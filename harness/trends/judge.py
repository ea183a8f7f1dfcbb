"""Judge a series: what its newest values mean, since when, and on what evidence."""

from __future__ import annotations

from collections.abc import Sequence

from harness.store.series import Series
from harness.trends.exact import judge_metric
from harness.trends.ledger import accepted_place
from harness.trends.rule import Rule
from harness.trends.steps import judge_steps
from harness.trends.trend import Confirmation, Trend


def judge_series(
    series: Series,
    rule: Rule | None = None,
    confirmations: Sequence[Confirmation] = (),
    *,
    accepted: str | None = None,
) -> Trend:
    """Judge a series by its kind.

    ``confirmations`` are those of all its runs, in any order; others' are passed over. They
    decide again each time, so give the same ones every night. A suspect timing or memory series
    wants reruns: add one or more to its newest run's confirmation and judge again, until it is
    suspect no more; at most ``rule.reruns`` are looked at. Changes that began at or before the run
    ``accepted`` are no longer told; runs are named in the order of time.
    """
    rule = rule or Rule()
    if not series.points:
        return Trend(
            cell=series.cell,
            measure=series.measure,
            state="unchanged",
            changed=False,
            since=None,
            effect=None,
            interval=None,
            evidence="no run has a value",
            segments=(),
        )
    place = accepted_place([point.run for point in series.points], accepted)
    if series.kind == "metric":
        return judge_metric(series, rule, place)
    return judge_steps(series, rule, confirmations, place)
