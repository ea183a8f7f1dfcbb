"""Name every measure of diversity, with its unit and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml.health.diversity_report import Measure, Part


@dataclass(frozen=True)
class Definition:
    """Hold what is the same of a measure in every analysis."""

    part: Part
    unit: str
    meaning: str
    more_is: Literal["diverse", "repeated"]


MEASURES = {
    "effective values": Definition(
        "statistical",
        "values",
        "So many equally frequent values, or bins of a number, have the entropy of this column.",
        "diverse",
    ),
    "effective rank": Definition(
        "statistical",
        "directions",
        "So many uncorrelated directions have the entropy of the spectrum of all columns.",
        "diverse",
    ),
    "coverage": Definition(
        "statistical",
        "share of the reference's rows",
        "This share of one half of the reference has a row within the distance of its fifth "
        "nearest neighbour: one of its other half, and one of the candidate.",
        "diverse",
    ),
    "duplicates": Definition(
        "structural",
        "share of rows",
        "This share of rows repeats another one in every column.",
        "repeated",
    ),
    "near-duplicates": Definition(
        "structural",
        "share of sampled rows",
        "This share of rows has another that differs, by 0.05 standard deviations in a number at "
        "most, and in no category.",
        "repeated",
    ),
    "vendi score": Definition(
        "semantic",
        "texts",
        "So many wholly different texts would be as diverse, by {means}.",
        "diverse",
    ),
    "similarity": Definition(
        "semantic",
        "mean cosine",
        "So similar are two texts on average, by {means}.",
        "repeated",
    ),
    "near-duplicate texts": Definition(
        "semantic",
        "share of texts",
        "This share of texts has another with a cosine of 0.9 or more, by {means}.",
        "repeated",
    ),
    "semantic coverage": Definition(
        "semantic",
        "share of the reference's texts",
        "This share of one half of the reference has a text as near as its fifth nearest "
        "neighbour, by {means}: one of its other half, and one of the candidate.",
        "diverse",
    ),
    "levels": Definition(
        "rare",
        "levels",
        "So many levels are expected in a draw of {means} rows.",
        "diverse",
    ),
    "rare levels kept": Definition(
        "rare",
        "share of rare levels",
        "This share of the reference's levels rarer than 5 % is there: in a draw of as many rows "
        "as the candidate has, and in the candidate.",
        "diverse",
    ),
}


def measured(
    name: str, reference: float, candidate: float, column: str | None = None, means: str = ""
) -> Measure:
    """Return a measure of MEASURES; ``means`` says by what it was measured."""
    known = MEASURES[name]
    return Measure(
        name=name,
        part=known.part,
        column=column,
        reference=reference,
        candidate=candidate,
        unit=known.unit,
        meaning=known.meaning.format(means=means),
        more_is=known.more_is,
    )
