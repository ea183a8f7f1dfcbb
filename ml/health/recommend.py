"""Recommend what to do for a candidate: actions ranked by expected gain over cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml.core.recommendations import ProxyGain, rank_actions
from ml.core.recommendations import Recommendation as Recommendation
from ml.health.actions import derive_actions
from ml.health.located import LocatedRows
from ml.health.matched import Match
from ml.health.report import HealthReport


def recommend(
    report: HealthReport,
    located: LocatedRows | None = None,
    matches: Sequence[Match] = (),
    *,
    target: str | None = None,
    gains: Mapping[str, Sequence[ProxyGain]] | None = None,
    past: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Recommendation, ...]:
    """Return what to do for a candidate, the best first; nothing for a healthy one.

    ``located`` are its flagged rows and ``matches`` the known damage that it is like, where they
    are known. ``gains`` has what proxy models found by the action's name, as ``mlmatrix data
    recommend`` measures it; without them the ranking is by what the dimension's score could
    regain. ``past`` has what the same actions gained before.
    """
    actions = derive_actions(report, located, matches, target)
    return rank_actions(actions, report.candidate.rows, gains, past)
