"""Compare two frameworks' results of the same cell, rung by rung, from the split to the metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.cell import Cell
from harness.gates.score import score_result
from harness.store.ladder import FRAMEWORKS
from harness.store.record import Comparison, Record, Rung, RungName
from ml.core.contracts import TrainResult

# The relative differences that are allowed. That after 100 updates is no target of its own: it
# bounds what the updates make of roundings. A row within a rounding of a relu's kink learns in one
# framework and not in the other, and Adam blows that up to a percent.
LIMITS: dict[RungName, float] = {
    "forward": 1e-6,
    "loss_1": 1e-6,
    "gradient_1": 1e-5,
    "weights_1": 1e-5,
    "weights_10": 1e-5,
    "weights_100": 5e-2,
}
# Outputs are log-odds, or targets in standard deviations: of sums that cancel to much less than one
# unit, float32 has no more digits.
UNITS: dict[RungName, float] = {"forward": 1.0}
METRIC_LIMIT = 0.02
BOUNDED_METRICS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision")
# After how many updates a rung is there; a shorter training rightly lacks it.
UPDATES: dict[RungName, int] = {"weights_10": 10, "weights_100": 100}
# What the requests of two frameworks for the same cell may differ in.
FREE_FIELDS = ("id", "artifact_dir")


def compare_siblings(
    cell: Cell, result: TrainResult, before: Sequence[Record]
) -> tuple[Comparison, ...]:
    """Compare a cell's result with those of the same request, in the order of the frameworks.

    ``before`` are records that the run has already. One is passed over that is of the same
    framework or of another mode, is not ok, has no trace, or answers another request. Sweeps are
    not compared: each framework's search may rightly find other settings.
    """
    if result.parity is None or cell.mode == "sweep":
        return ()
    request = _strip(cell.to_request().model_dump(mode="json"))
    place = FRAMEWORKS.index(cell.framework)
    found = []
    for record in sorted(before, key=lambda record: FRAMEWORKS.index(record.framework)):
        other = record.result
        if (
            record.framework == cell.framework
            or record.mode != cell.mode
            or record.outcome != "ok"
            or other is None
            or other.parity is None
            or _strip(record.request) != request
        ):
            continue
        # The order of the frameworks, not that of the runs, says which one is the reference.
        if FRAMEWORKS.index(record.framework) < place:
            pair, rungs = (record.framework, cell.framework), compare(result, other)
        else:
            pair, rungs = (cell.framework, record.framework), compare(other, result)
        found.append(Comparison(frameworks=pair, other=record.cell, rungs=tuple(rungs)))
    return tuple(found)


def compare(this: TrainResult, other: TrainResult) -> list[Rung]:
    """Return the rungs of the ladder, by which ``this`` differs from ``other``, in their order.

    Splits and the order of the rows must be equal. The numbers of the trace differ by
    |this - other| / |other|, Euclidean norms, the outputs of the forward pass by no less than one
    unit each; the metric's mean over the replicates by the same, or absolutely where the metric
    is bounded. Its limit is the larger of ``METRIC_LIMIT`` and the
    pooled spread of the two scores, in the same measure. What is missing, has another length or
    is not finite has no difference but a reason, and does not pass; a rung that neither
    training was long enough for is left out.
    """
    return [
        _compare_splits(this, other),
        *_compare_traces(this, other),
        _compare_metrics(this, other),
    ]


def describe_comparison(comparison: Comparison) -> str:
    """Say in words whether two frameworks agree, and at which rung they no longer do."""
    one, two = comparison.frameworks
    failing = next((rung for rung in comparison.rungs if not rung.passes), None)
    if failing is None:
        farthest = max(comparison.rungs, key=_share)
        if not farthest.difference:
            return f"{one} and {two} agree in every digit"
        return f"{one} and {two} agree, least at {farthest.name}: {_describe_rung(farthest)}"
    place = comparison.rungs.index(failing)
    agreed = f"; up to {comparison.rungs[place - 1].name} they agree" if place else ""
    return f"{one} and {two} drift apart at {failing.name}: {_describe_rung(failing)}{agreed}"


def _share(rung: Rung) -> float:
    return (rung.difference or 0.0) / rung.limit if rung.limit else 0.0


def _describe_rung(rung: Rung) -> str:
    if rung.difference is None:
        return str(rung.reason)
    if rung.values is not None:
        return f"{rung.values}, difference {rung.word}, limit {rung.limit:.2g}"
    return f"relative difference {rung.word}, limit {rung.limit:g}"


def _strip(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in FREE_FIELDS}


def _compare_splits(this: TrainResult, other: TrainResult) -> Rung:
    if this.data.content_sha256 != other.data.content_sha256:
        return _fail("splits", 0.0, "the content of the table is another")
    if this.data.sample.rows_sha256 != other.data.sample.rows_sha256:
        return _fail("splits", 0.0, "other rows of the table were used")
    one, two = this.replicates, other.replicates
    if len(one) != len(two):
        return _fail("splits", 0.0, f"{len(one)} replicates against {len(two)}")
    parted = [a.index for a, b in zip(one, two, strict=True) if a.split_sha256 != b.split_sha256]
    if parted:
        return _fail("splits", 0.0, f"replicates {parted} are split into other rows")
    return Rung(name="splits", difference=0.0, limit=0.0)


def _compare_traces(this: TrainResult, other: TrainResult) -> Iterator[Rung]:
    one, two = this.parity, other.parity
    if one is None or two is None:
        lacking = this.framework if one is None else other.framework
        yield _fail("rows", 0.0, f"{lacking} has no trace of its first updates")
        return
    if one.rows_sha256 == two.rows_sha256:
        yield Rung(name="rows", difference=0.0, limit=0.0)
    else:
        yield _fail("rows", 0.0, "the rows of the first updates stand in another order")
    for name, limit in LIMITS.items():
        without = [r.framework for r in (other, this) if r.parity and name not in r.parity.rungs]
        if not without:
            floor = UNITS.get(name, 0.0) * math.sqrt(two.sizes.get(name, 0))
            yield _compare_numbers(name, limit, one.rungs[name], two.rungs[name], floor)
        elif len(without) == 1 or not _are_too_short(name, this, other):
            yield _fail(name, limit, f"{' and '.join(without)} did not record it")


def _are_too_short(name: RungName, *results: TrainResult) -> bool:
    needed = UPDATES.get(name, 0)
    return all(r.updates < needed for result in results for r in result.replicates[:1])


def _compare_numbers(
    name: RungName, limit: float, this: Sequence[float], other: Sequence[float], floor: float
) -> Rung:
    if len(this) != len(other):
        return _fail(name, limit, f"{len(this)} numbers against {len(other)}")
    if not this:
        return _fail(name, limit, "there are no numbers to compare")
    if not all(map(math.isfinite, (*this, *other))):
        return _fail(name, limit, "a number is not finite")
    size = max(math.hypot(*other), floor)
    return _compare_distance(name, limit, math.dist(this, other), size)


def _compare_distance(name: RungName, limit: float, distance: float, size: float) -> Rung:
    if distance == 0:
        return Rung(name=name, difference=0.0, limit=limit)
    if size == 0:
        return _fail(name, limit, "only one of the two is zero")
    difference = distance / size
    if not math.isfinite(difference):
        return _fail(name, limit, "the difference is too large for a number")
    return Rung(name=name, difference=difference, limit=limit)


def _compare_metrics(this: TrainResult, other: TrainResult) -> Rung:
    one, two = score_result(this), score_result(other)
    if one is None or two is None:
        without = this if one is None else other
        return _fail(
            "metric", METRIC_LIMIT, f"{without.metric} is not defined for {without.framework}"
        )
    if one.metric != two.metric:
        return _fail("metric", METRIC_LIMIT, f"{one.metric} against {two.metric}")
    size = 1.0 if one.metric in BOUNDED_METRICS else abs(two.value)
    spread = math.hypot(one.spread, two.spread) / math.sqrt(2)
    limit = max(METRIC_LIMIT, spread / size if size else 0.0)
    rung = _compare_distance("metric", limit, abs(one.value - two.value), size)
    values = f"{one.metric} {two.value:.4g} and {one.value:.4g}"
    return rung.model_copy(update={"values": values})


def _fail(name: RungName, limit: float, reason: str) -> Rung:
    return Rung(name=name, difference=None, limit=limit, reason=reason)
