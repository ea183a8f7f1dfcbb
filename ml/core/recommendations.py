"""Define what may be done for a table, what proxies found it to gain, and how it is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field

from ml.core.rules import Task
from ml.core.specs import Contract, NotNegative

ActionName = Literal[
    "drop_repeated",
    "drop_copies",
    "drop_flagged",
    "mend_flagged",
    "rescale",
    "winsorise",
    "fill_missing",
    "restore_levels",
    "restore_column",
    "drop_column",
    "convert_column",
    "reweight_target",
    "add_reference",
]
ACTIONS: tuple[ActionName, ...] = get_args(ActionName)
# What was gained before counts as so many proxies at most: today's table may be another case.
MOST_PAST = 3
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Action(Contract):
    """Name what may be done, and the dimension, columns and rows that ask for it.

    ``rows`` counts the candidate's rows that it changes or drops, ``added`` those that it takes
    from the reference; both are None where no table was at hand. ``positions`` are the first of
    those rows. ``severity`` is the share of the dimension's score that is lost.
    """

    action: ActionName
    dimension: str
    columns: tuple[str, ...] = ()
    rows: Whole | None = None
    added: Whole | None = None
    positions: tuple[Whole, ...] = ()
    severity: Share
    reason: str

    @property
    def name(self) -> str:
        """Return the action's name in its plan, such as ``rescale:price``."""
        return ":".join([self.action, ",".join(self.columns)]) if self.columns else self.action


class PlanRequest(Contract):
    """Ask for a plan: which tables to compare, the column to predict, and where to write.

    Without a ``target`` no table is made for proxies.
    """

    schema_version: Literal[1] = 1
    candidate: str
    reference: str
    folder: str
    target: str | None = None
    task: Literal["classification", "regression"] | None = None
    group: str | None = None
    tolerance: NotNegative = 0.0
    seed: Whole = 0
    incidents: str | None = None


class Plan(Contract):
    """Hold the actions that a candidate's report asks for, and the tables to try them on.

    ``tables`` has the path of a dataset's descriptor by the action's name, and that of the
    candidate as it is by the empty name. All have the same test rows, which are the reference's;
    ``test_sha256`` identifies them. ``notes`` say what could not be tried, and why.
    """

    schema_version: Literal[1] = 1
    verdict: str
    score: Annotated[float, Field(ge=0, le=100)]
    rows: Whole
    target: str | None = None
    task: Task | None = None
    test_rows: Whole = 0
    test_sha256: str = ""
    actions: tuple[Action, ...] = ()
    tables: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class ProxyGain(Contract):
    """Hold what one proxy model found: its score on the test rows before and after an action.

    ``gain`` is None, with a reason, where one of both trainings gave no score. ``seconds`` are
    those of training on the mended table.
    """

    proxy: str
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    gain: float | None = None
    reason: str = ""
    seconds: NotNegative = 0.0


class Recommendation(Contract):
    """Recommend an action: its expected gain, its cost, and what asks for it.

    ``gain`` is the expected gain in the metric's unit, R² for a regression; None where no proxy
    has measured it. ``cost`` is 1 and the rows to be touched or added, as a share of the
    candidate's. ``value`` is what it is ranked by. ``measured`` is the mean of the proxies' gains,
    ``past`` how many earlier gains of the same action count beside them. ``rows``, ``positions``
    and ``added`` are as in ``Action``.
    """

    action: str
    dimension: str
    rows: int | None
    columns: tuple[str, ...]
    gain: float | None
    cost: float
    reason: str
    value: float
    measured: float | None = None
    past: Whole = 0
    added: Whole | None = None
    positions: tuple[Whole, ...] = ()
    proxies: tuple[ProxyGain, ...] = ()
    seconds: NotNegative = 0.0


def expected_gain(observed: Sequence[float], past: Sequence[float] = ()) -> float:
    """Return the mean of what was observed, and of the newest past gains, shrunken to 0.

    One imagined observation of no gain stands beside them, so that a single lucky proxy does not
    outrank several that agree.
    """
    known = [*observed, *past[-MOST_PAST:]]
    return sum(known) / (1 + len(known))


def cost_of(action: Action, rows: int) -> float:
    """Return 1 and the rows that an action touches or adds, as a share of the candidate's."""
    touched = (action.rows or 0) + (action.added or 0)
    return 1 + touched / max(rows, 1)


def rank_value(gain: float, cost: float) -> float:
    """Return what is ranked by: a gain per cost, or a loss times it."""
    return gain / cost if gain > 0 else gain * cost


def rank_actions(
    actions: Sequence[Action],
    rows: int,
    gains: Mapping[str, Sequence[ProxyGain]] | None = None,
    past: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Recommendation, ...]:
    """Return the actions as recommendations, that of the greatest value first.

    ``rows`` are the candidate's. ``gains`` has what proxies found by the action's name, and
    ``past`` earlier gains by what was done. A larger proxy that an action did not get to is taken
    to find what it found of the least of those that did, or the action's own mean where that is
    less: it lost to them before. First come expected gains; then what no proxy has measured, by
    the share of its dimension's score that is lost in place of a gain; then losses.
    """
    least = _least_gains(gains or {})
    found: list[tuple[tuple[int, float, int], Recommendation]] = []
    for action in actions:
        proxies = tuple((gains or {}).get(action.name, ()))
        observed = [one.gain for one in proxies if one.gain is not None]
        before = tuple((past or {}).get(action.action, ()))
        cost = cost_of(action, rows)
        known = None
        if observed:
            mean = sum(observed) / len(observed)
            seen = {one.proxy for one in proxies}
            unseen = [min(value, mean) for name, value in least.items() if name not in seen]
            known = expected_gain([*observed, *unseen], before)
        guess = expected_gain([action.severity], before)
        gain = guess if known is None else known
        recommendation = Recommendation(
            action=action.name,
            dimension=action.dimension,
            rows=action.rows,
            columns=action.columns,
            gain=known,
            cost=cost,
            reason=action.reason,
            value=rank_value(gain, cost),
            measured=sum(observed) / len(observed) if observed else None,
            past=min(len(before), MOST_PAST),
            added=action.added,
            positions=action.positions,
            proxies=proxies,
            seconds=sum(one.seconds for one in proxies),
        )
        order = _tier(recommendation), -recommendation.value, len(found)
        found.append((order, recommendation))
    return tuple(one for _, one in sorted(found, key=lambda pair: pair[0]))


def _least_gains(gains: Mapping[str, Sequence[ProxyGain]]) -> dict[str, float]:
    """Return the least gain that each proxy found of any action."""
    least: dict[str, float] = {}
    for found in gains.values():
        for one in found:
            if one.gain is not None:
                least[one.proxy] = min(one.gain, least.get(one.proxy, one.gain))
    return least


def _tier(one: Recommendation) -> int:
    if one.gain is None:
        return 1
    return 0 if one.gain > 0 else 2
