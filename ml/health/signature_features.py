"""Reduce a health report to the numbers that tell kinds of damage apart."""

from __future__ import annotations

import math

from ml.health.judge import ANCHORS
from ml.health.report import Dimension, HealthReport


def signature_of(report: HealthReport) -> dict[str, float]:
    """Return a report's signature: numbers by name, comparable between tables of any size.

    Effects by their signed root, so that small ones count; each dimension's effect beyond its
    null, in anchors; how far its leading column stands out, relative to the whole report's, by
    which statistic, and how much its other columns stand out beside it; the classifier's AUC;
    and whether columns are missing, new, or of another kind. A name that is not there is 0.
    """
    found = {f"effect.{name}": _root(value) for name, value in report.effects.items()}
    standings = [finding.standing for each in report.dimensions for finding in each.worst]
    furthest = max([1.0, *standings])
    for each in report.dimensions:
        beyond = max(0.0, each.effect - each.null) / ANCHORS[each.name]
        found[f"beyond.{each.name}"] = _root(beyond)
        found |= _lead(each, furthest)
    if report.classifier.auc is not None:
        found["classifier"] = 2 * report.classifier.auc - 1
    for difference in report.schema_differences:
        found[f"schema.{difference.change}"] = 1.0
    return {name: value for name, value in sorted(found.items()) if value}


def _root(value: float) -> float:
    return math.copysign(math.sqrt(abs(value)), value)


def _lead(dimension: Dimension, furthest: float) -> dict[str, float]:
    if not dimension.worst:
        return {}
    first, *others = (finding.standing for finding in dimension.worst)
    lead, name = _root(first / furthest), dimension.name
    return {
        f"lead.{name}": lead,
        f"lead.{name}.{dimension.worst[0].statistic}": lead,
        f"alone.{name}": first / (first + sum(others)),
        f"second.{name}": others[0] / first if others else 0.0,
    }
