"""Hold a cell's score to the band that was learned from its history and accepted in review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.cell import Cell
from harness.store.baselines import Bands
from harness.store.record import Score
from harness.store.rows import hash_entry


@dataclass(frozen=True)
class Accepted:
    """Hold the accepted bands, and the hash of the environment that this session runs in."""

    bands: Bands
    environment: str


def judge_band(
    cell: Cell, score: Score | None, accepted: Accepted | None
) -> tuple[Literal["pass", "fail", "not_applicable"], str]:
    """Return whether the score is no worse than its band.

    A band speaks for its own environment and request only. Times and memory have bands too, but a
    single value says too little of them: they are judged by their trends.
    """
    band = accepted.bands.get((cell.id, "score")) if accepted else None
    if band is None or accepted is None:
        return "not_applicable", "there is no accepted band"
    if score is None:
        return "not_applicable", "there is no score"
    if band.environment != accepted.environment:
        return "not_applicable", "the accepted band is that of another environment"
    if band.entry != hash_entry(cell.to_request().model_dump(mode="json")):
        return "not_applicable", "the accepted band is that of another request"
    numbers = (
        f"{score.metric} {score.value:.4g}, accepted {band.low:.4g} to {band.high:.4g} "
        f"since {band.since}"
    )
    worse = score.value < band.low if score.greater_is_better else score.value > band.high
    if worse:
        return "fail", numbers
    if not band.low <= score.value <= band.high:
        return "pass", f"{numbers}: better; to keep that, run `mlmatrix baseline update`"
    return "pass", numbers
