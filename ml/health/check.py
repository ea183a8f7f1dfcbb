"""Check whether a candidate table still carries what its reference carried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf
from pathlib import Path
from typing import Any

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.evidence import classify_sides
from ml.health.judge import (
    Detectable,
    find_detectable,
    find_losses,
    is_visible,
    judge_dimensions,
    measure_effects,
)
from ml.health.layout import Layout
from ml.health.lost import lost_diversity
from ml.health.narrow import narrow, schema_differences
from ml.health.permute import assignments
from ml.health.pool import TESTED, Pool, pool_rows, sampled_rows
from ml.health.report import (
    ClassifierTest,
    Dimension,
    HealthReport,
    SchemaDifference,
    Side,
    Verdict,
)
from ml.health.sketch import RESERVOIR, Sketch
from ml.health.sketching import sketch_table
from ml.health.stored import is_stored, read_sketch
from ml.health.tested import Tested, judge_pool
from ml.health.whole import hash_sample, same_rows, whole_families

LARGER = 10 * TESTED


SAME = "both tables hold the same rows"


@dataclass(frozen=True)
class Terms:
    """Hold the terms of a check, as ``check`` takes them."""

    tolerance: float = 0.0
    alpha: float = 0.02
    seed: int = 0


def check(
    reference: Any,
    candidate: Any,
    *,
    group: str | None = None,
    tolerance: float = 0.0,
    alpha: float = 0.02,
    seed: int = 0,
) -> HealthReport:
    """Compare a candidate table with its reference in eight dimensions.

    Each is a pandas DataFrame, the path or URL of a table, a ``Sketch``, or the folder of a
    stored one; a candidate's sketch is one made with the reference's layout. ``group`` names
    a column whose rows belong together, such as a day or a person: whole groups are permuted,
    and the column itself is not compared. ``tolerance`` smooths numbers on both sides by so many
    standard deviations, so that jitter of that size is no difference. At ``alpha`` that share of
    healthy candidates is called different. The report is the same for the same ``seed``.

    Raises DataInvalid for a table that cannot be read or has no rows, Unavailable for a package
    that is not installed, RequestInvalid for an argument that is not what it should be.
    """
    terms = Terms(tolerance, alpha, seed)
    check_terms(terms)
    first, second = sketch_sides(reference, candidate, group, seed)
    return check_sketches(first, second, terms)


def check_terms(terms: Terms) -> None:
    """Raise RequestInvalid for terms that no check can be made on."""
    if not 0.01 <= terms.alpha < 1:
        why = "cannot be told by 199 permutations"
        raise _outside("alpha", terms.alpha, why, "a share from 0.01 to 1")
    if not 0 <= terms.tolerance < 10:
        why = "is no number of standard deviations"
        raise _outside("tolerance", terms.tolerance, why, "from 0 to 10")


def _outside(name: str, value: float, why: str, expected: str) -> RequestInvalid:
    return RequestInvalid(
        f"{name} {value} {why}", field=name, expected=expected, received=str(value)
    )


def sketch_sides(
    reference: Any, candidate: Any, group: str | None, seed: int
) -> tuple[Sketch, Sketch]:
    """Return both tables' sketches by the reference's layout; see ``check`` for what they may be.

    Raises RequestInvalid where a given sketch has another group or layout.
    """
    first = sketch_side(reference, None, group, seed)
    return first, sketch_side(candidate, first.layout, group, seed)


def sketch_side(
    table: Any,
    layout: Layout | None,
    group: str | None,
    seed: int,
    tell: Callable[[int], None] | None = None,
) -> Sketch:
    """Return the sketch of one side of a check: of the candidate, where there is a ``layout``.

    Raises RequestInvalid for a sketch that was made for another check.
    """
    if isinstance(table, str | Path) and is_stored(table):
        table = read_sketch(Path(table))
    if not isinstance(table, Sketch):
        # Both sides draw samples of their own, as the parts of a table do.
        part = 0 if layout is None else 1
        return sketch_table(table, layout=layout, group=group, seed=seed, part=part, tell=tell)
    if layout is None and table.layout.group != group:
        raise RequestInvalid(
            "the reference's sketch was made with another group",
            field="group",
            expected=repr(table.layout.group),
            received=repr(group),
            remedy="make the sketch anew with that group, or check by the one that it has",
        )
    if layout is not None and table.layout != layout:
        raise RequestInvalid(
            "the candidate's sketch was not made for this reference",
            code="layout_differs",
            field="candidate",
            expected="a sketch made with the reference's layout",
            remedy="give the table itself, or sketch it with layout=reference.layout",
        )
    return table


def pool_sketches(
    reference: Sketch,
    candidate: Sketch,
    *,
    tolerance: float = 0.0,
    seed: int = 0,
    most: int = TESTED,
) -> Pool:
    """Return the sampled rows of two sketches of one layout, at most so many of each side."""
    return pool_rows(
        reference.layout,
        sampled_rows(reference, most),
        sampled_rows(candidate, most),
        tolerance,
        seed,
    )


def check_sketches(reference: Sketch, candidate: Sketch, terms: Terms) -> HealthReport:
    """Compare the sketches of two tables, see ``check``; both have the reference's layout."""
    for sketch, name in ((reference, "reference"), (candidate, "candidate")):
        if not sketch.settle().rows:
            raise DataInvalid(f"the {name} has no rows", code="no_rows", field=name)
    differences = schema_differences(reference, candidate)
    changed = {difference.column for difference in differences}
    kept = tuple(column for column in reference.layout.columns if column.name not in changed)
    shared = Layout(columns=kept, group=reference.layout.group)
    first, second = narrow(reference, shared), narrow(candidate, shared)
    if not kept:
        return _incomparable(first, second, differences, terms)
    grouped = shared.group is not None
    tolerance, seed = terms.tolerance, terms.seed
    pool = pool_sketches(first, second, tolerance=tolerance, seed=seed)
    sampled, everything = None, pool
    if max(first.rows, second.rows) > TESTED:
        sampled = None if grouped else hash_sample(first, second, TESTED, LARGER)
        everything = pool_sketches(first, second, tolerance=tolerance, seed=seed, most=RESERVOIR)
    same = not differences and same_rows(first, second)
    tested = judge_pool(pool, grouped=grouped, seed=seed, repeated=sampled, copies=not same)
    whole = whole_families(first, second, everything, tolerance)
    classifier = classify_sides(pool, grouped=grouped, seed=seed)
    effects = measure_effects(tested, whole)
    dimensions = judge_dimensions(tested.judged, effects, tested, whole, terms.alpha)
    losses = find_losses(dimensions, effects, lost_diversity(first, second), terms.alpha)
    detectable = find_detectable(tested, terms.alpha)
    p = None if tested.judged.broken else tested.judged.p
    ways = exp(min(700.0, assignments(pool.groups, pool.reference))) if grouped else inf
    verdict: Verdict = "healthy"
    if p is not None and p <= terms.alpha:
        verdict = "collapsed" if losses else "differs"
    elif differences:
        verdict = "differs"
    elif p is None or not is_visible(detectable) or ways * terms.alpha < 1:
        verdict = "insufficient_power"
    return HealthReport(
        verdict=verdict,
        score=min((each.score for each in dimensions), default=100.0),
        p=p,
        alpha=terms.alpha,
        seed=seed,
        tolerance=tolerance,
        group=shared.group,
        reference=Side(rows=first.rows, tested=pool.reference),
        candidate=Side(rows=second.rows, tested=pool.candidate),
        dimensions=dimensions,
        schema_differences=differences,
        losses=losses if verdict == "collapsed" else (),
        classifier=classifier,
        detectable=detectable[0] if detectable else None,
        detectable_unit=detectable[1] if detectable else None,
        effects=effects.statistics,
        reasons=(SAME,) * same
        + _reasons(verdict, dimensions, differences, losses, detectable, tested, ways, terms),
    )


def _incomparable(
    first: Sketch, second: Sketch, differences: tuple[SchemaDifference, ...], terms: Terms
) -> HealthReport:
    return HealthReport(
        verdict="differs",
        score=0.0,
        p=None,
        alpha=terms.alpha,
        seed=terms.seed,
        tolerance=terms.tolerance,
        group=first.layout.group,
        reference=Side(rows=first.rows, tested=0),
        candidate=Side(rows=second.rows, tested=0),
        dimensions=(),
        schema_differences=differences,
        losses=(),
        classifier=ClassifierTest(reason="the tables have no column in common"),
        detectable=None,
        detectable_unit=None,
        effects={},
        reasons=("the tables have no column in common", *map(_tell, differences)),
    )


def _reasons(
    verdict: Verdict,
    dimensions: tuple[Dimension, ...],
    differences: tuple[SchemaDifference, ...],
    losses: tuple[str, ...],
    detectable: Detectable | None,
    tested: Tested,
    ways: float,
    terms: Terms,
) -> tuple[str, ...]:
    found = [_tell(difference) for difference in differences]
    if verdict in ("differs", "collapsed"):
        for each in dimensions:
            if each.p is not None and each.p <= terms.alpha and each.worst:
                worst = each.worst[0]
                place = "" if worst.column == "all" else f" in {worst.column}"
                lost = ", a loss" if verdict == "collapsed" and each.name in losses else ""
                found.append(f"{each.name} changed{place} ({worst.statistic}){lost}")
    found += [
        f"{name} is no number, so the tables cannot be called healthy"
        for name in tested.judged.broken
    ]
    if verdict == "insufficient_power":
        if ways * terms.alpha < 1:
            found.append(
                f"the groups can be parted in {ways:.0f} ways only; more groups are needed"
            )
        if detectable is None:
            found.append("no column varies, so no change could be seen")
        elif not is_visible(detectable):
            value, unit = detectable
            found.append(
                f"a change of one column is seen from {value:.2f} {unit} on; "
                "more rows would show a smaller one"
            )
    return tuple(found)


def _tell(difference: SchemaDifference) -> str:
    if difference.change == "missing":
        return f"the candidate lacks the column {difference.column}"
    if difference.change == "added":
        return f"the candidate has a further column {difference.column}"
    return (
        f"the column {difference.column} is {difference.candidate} and was {difference.reference}"
    )
