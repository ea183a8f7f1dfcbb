"""Try actions on proxy models of growing size; the larger ones see the better half only."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.catalog.algorithms import ALGORITHMS, Algorithm
from harness.cell import Cell
from harness.options import Settings
from harness.store.record import Record
from ml.core.contracts import Budget, DescriptorData, Framework, Outcome, Task
from ml.core.recommendations import Action, Plan, ProxyGain, Recommendation, rank_actions

# Of what is worse than this, nothing more is to be learnt: R² has no lower bound.
WORST_R2 = -1.0
# Without a choice or a finite number to learn from, a candidate is worth what a dummy is.
UNTRAINABLE: tuple[Outcome, ...] = ("data_invalid", "diverged")


@dataclass(frozen=True)
class Proxy:
    """Hold one size of proxy model: an algorithm of the catalog, rows, and replicates."""

    algorithm: str
    framework: Framework
    rows: int
    replicates: int

    @property
    def name(self) -> str:
        """Return the name by which its scores are compared and kept."""
        return f"{self.algorithm}-{self.framework}-{self.rows}"


CASCADE = (
    Proxy("linear", "sklearn", 1_000, 1),
    Proxy("random_forest", "sklearn", 4_000, 2),
    Proxy("mlp", "sklearn", 12_000, 2),
)


@dataclass(frozen=True)
class Tried:
    """Hold what proxies found: recommendations, and the scores of the candidate as it is."""

    recommendations: tuple[Recommendation, ...]
    scores: dict[str, float]
    records: tuple[Record, ...] = ()


def run_cascade(
    plan: Plan,
    proxies: Sequence[Proxy],
    settings: Settings,
    run: Callable[[Cell], Record],
    past: Mapping[str, Sequence[float]],
    tell: Callable[[str, Record, ProxyGain | None], None],
) -> Tried:
    """Train each proxy on the candidate as it is and after each action that is still in.

    After a proxy the better half of the actions goes on, by expected gain over cost: successive
    halving (Jamieson and Talwalkar 2016). Every training is a cell that ``run`` runs once.
    """
    left = [action for action in plan.actions if action.name in plan.tables]
    gains: dict[str, list[ProxyGain]] = {}
    scores: dict[str, float] = {}
    records = []
    for place, proxy in enumerate(proxies if "" in plan.tables else ()):
        before = run(make_cell(plan, "", proxy, settings))
        records.append(before)
        tell("", before, None)
        if (score := score_of(before)) is not None:
            scores[proxy.name] = score
        for action in left:
            after = run(make_cell(plan, action.name, proxy, settings))
            records.append(after)
            found = compare(proxy, before, after)
            gains.setdefault(action.name, []).append(found)
            tell(action.name, after, found)
        if place + 1 < len(proxies):
            left = _better_half(left, plan.rows, gains, past)
        if not left:
            break
    ranked = rank_actions(plan.actions, plan.rows, gains, past)
    return Tried(ranked, scores, tuple(records))


def _better_half(
    actions: Sequence[Action],
    rows: int,
    gains: Mapping[str, Sequence[ProxyGain]],
    past: Mapping[str, Sequence[float]],
) -> list[Action]:
    ranked = [one.action for one in rank_actions(actions, rows, gains, past)]
    kept = set(ranked[: (len(ranked) + 1) // 2])
    return [action for action in actions if action.name in kept]


def make_cell(plan: Plan, action: str, proxy: Proxy, settings: Settings) -> Cell:
    """Return the cell that trains a proxy on the table of an action, "" being the table as it is.

    All cells of a plan have one seed, so that a gain is no luck of the draw.
    """
    assert plan.task is not None
    path = plan.tables[action]
    entry = _entry(proxy, plan.task)
    return Cell(
        dataset=path.rpartition("/")[2].removesuffix(".toml"),
        algorithm=entry.id,
        framework=entry.framework,
        mode="train",
        task=plan.task,
        data=DescriptorData(path=path),
        model=entry.model,
        preprocessing=entry.preprocessing,
        budget=Budget(rows=proxy.rows, seconds=settings.seconds),
        replicates=proxy.replicates,
        timeout=settings.timeout,
        runtime=settings.runtime,
        resources=entry.resources,
        seeded_as="proxies",
    )


def _entry(proxy: Proxy, task: Task) -> Algorithm:
    return next(
        entry
        for entry in ALGORITHMS
        if (entry.id, entry.framework) == (proxy.algorithm, proxy.framework) and task in entry.tasks
    )


def metric_of(record: Record) -> str | None:
    """Return the metric that proxies are compared by: R² in a regression, else the cell's own."""
    if record.result is None:
        return None
    return "r2" if record.task == "regression" else record.result.metric


def score_of(record: Record, *, baseline: bool = False) -> float | None:
    """Return the mean of a cell's metric over its replicates, or of its dummy's; None without."""
    metric = metric_of(record)
    if record.result is None or metric is None:
        return None
    values = [
        (one.baseline if baseline else one.metrics).get(metric) for one in record.result.replicates
    ]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    score = statistics.fmean(known)
    return max(score, WORST_R2) if metric == "r2" else score


def compare(proxy: Proxy, before: Record, after: Record) -> ProxyGain:
    """Return what a proxy gains by an action; a cell that gave no score is a reason for none."""
    was, now = score_of(before), score_of(after)
    reason = ""
    if was is None and now is not None and before.outcome in UNTRAINABLE:
        was = score_of(after, baseline=True)
        reason = f"as it is, {before.reason}; a dummy stands in its place"
    elif was is None:
        reason = f"as it is: {before.outcome}, {before.reason}"
    elif now is None:
        reason = f"{after.outcome}: {after.reason}"
    return ProxyGain(
        proxy=proxy.name,
        metric=metric_of(after),
        before=was,
        after=now,
        gain=None if was is None or now is None else now - was,
        reason=reason,
        seconds=after.seconds,
    )
