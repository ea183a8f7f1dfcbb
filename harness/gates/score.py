"""Condense a result's replicates to the one score by which its cell is judged."""

from __future__ import annotations

import statistics

from harness.store.record import Score
from ml.core.contracts import TrainResult


def score_result(result: TrainResult) -> Score | None:
    """Condense the replicates' primary metric; None where some replicate does not define it."""
    pairs = [
        (replicate.metrics[result.metric], replicate.baseline[result.metric])
        for replicate in result.replicates
        if result.metric in replicate.metrics and result.metric in replicate.baseline
    ]
    if len(pairs) < len(result.replicates):
        return None
    sign = 1.0 if result.greater_is_better else -1.0
    improvements = [sign * (value - baseline) for value, baseline in pairs]
    return Score(
        metric=result.metric,
        greater_is_better=result.greater_is_better,
        value=statistics.fmean(value for value, _ in pairs),
        baseline=statistics.fmean(baseline for _, baseline in pairs),
        improvement=statistics.fmean(improvements),
        spread=statistics.stdev(improvements) if len(improvements) > 1 else 0.0,
    )
