"""Analyse how diverse a candidate table is beside its reference."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.check import pool_sketches
from ml.health.diversity_report import Diversity, Looked, Measure
from ml.health.encoded import score_rows
from ml.health.joint import effective_rank
from ml.health.layout import Layout
from ml.health.lost import column_entropies
from ml.health.measures import measured
from ml.health.narrow import narrow, schema_differences
from ml.health.patterns import lost_patterns
from ml.health.pool import Pool, sampled_rows
from ml.health.rare import measure_levels
from ml.health.semantic import (
    TEXTS,
    Semantics,
    compare_meanings,
    read_texts,
    unit_rows,
    vectorise_texts,
    vectorise_words,
)
from ml.health.sketch import RESERVOIR, Sketch
from ml.health.sketching import sketch_table
from ml.health.stored import is_stored, read_sketch
from ml.health.structural import NEAR_ROWS, near_share, repeated_share

Embeddings = Mapping[str, tuple[Any, Any]]
# Rows of each side whose neighbourhoods are compared.
COVERED_ROWS = 2000
NEIGHBOURS = 5
# Lost patterns that are told one by one.
LOST = 50


def measure_diversity(
    reference: Any,
    candidate: Any,
    *,
    group: str | None = None,
    embeddings: Embeddings | None = None,
    seed: int = 0,
) -> Diversity:
    """Measure the diversity of a candidate table beside its reference.

    Each is what ``check`` takes; tables of any size are read in one pass, a second one where
    they have columns of text. What is joint is measured on a reservoir sample of their rows
    (Vitter 1985), at most 20,000 of each, equally many of both where the number matters.
    ``group`` names a column to leave out. ``embeddings`` are vectors of texts, or of whatever
    else belongs to rows, by name: of the reference and the candidate, float [rows, d] each, in
    the order of their rows; those under the name of a column of text take TF-IDF's place.

    Raises what ``check`` raises, and RequestInvalid for embeddings that do not fit the rows.
    """
    first = _sketched(reference, None, group, seed)
    second = _sketched(candidate, first.layout, group, seed)
    reasons = []
    differences = schema_differences(first, second)
    changed = {difference.column for difference in differences}
    reasons += [f"the column {name} is not on both sides alike" for name in sorted(changed)]
    if group is not None:
        reasons.append("rows come in groups: a pattern may be lost by the choice of groups alone")
    kept = tuple(column for column in first.layout.columns if column.name not in changed)
    shared = Layout(columns=kept, group=first.layout.group)
    sides = narrow(first, shared), narrow(second, shared)
    pool = pool_sketches(*sides, seed=seed, most=COVERED_ROWS)
    measures = [*_statistical(*sides, pool), *_structural(*sides, reasons)]
    measures += _semantic(sides, (reference, candidate), embeddings or {}, reasons)
    measures += measure_levels(*sides, reasons)
    lost = lost_patterns(*sides, *(sampled_rows(side, RESERVOIR) for side in sides))
    return Diversity(
        seed=seed,
        reference=Looked(rows=sides[0].rows, sampled=len(sides[0].keys)),
        candidate=Looked(rows=sides[1].rows, sampled=len(sides[1].keys)),
        measures=tuple(measures),
        lost=tuple(lost[:LOST]),
        lost_patterns=len(lost),
        reasons=tuple(reasons),
    )


def _sketched(table: Any, layout: Layout | None, group: str | None, seed: int) -> Sketch:
    name = "reference" if layout is None else "candidate"
    if isinstance(table, str | Path) and is_stored(table):
        table = read_sketch(Path(table))
    if isinstance(table, Sketch):
        sketch = table.settle()
        wanted = layout if layout is not None else sketch.layout.model_copy(update={"group": group})
        if sketch.layout != wanted:
            raise RequestInvalid(
                f"the {name}'s sketch has another layout",
                code="layout_differs",
                field=name,
                expected="the reference's layout, and the group that is named",
                remedy="give the table itself",
            )
    else:
        part = 0 if layout is None else 1
        sketch = sketch_table(table, layout=layout, group=group, seed=seed, part=part)
    if not sketch.rows:
        raise DataInvalid(f"the {name} has no rows", code="no_rows", field=name)
    return sketch


def _statistical(reference: Sketch, candidate: Sketch, pool: Pool) -> list[Measure]:
    one, two = column_entropies(reference), column_entropies(candidate)
    found = [
        measured("effective values", exp(one[column.name]), exp(two[column.name]), column.name)
        for column in reference.layout.columns
        if column.name in one and column.kind != "text"
    ]
    scores = score_rows(pool).values
    if scores.shape[1] > 1 and min(pool.reference, pool.candidate) > 1:
        parts = scores[: pool.reference], scores[pool.reference :]
        one_rank, two_rank = (float(effective_rank(_eigenvalues(part))) for part in parts)
        found.append(measured("effective rank", one_rank, two_rank))
    covered = _coverage(scores, pool)
    if covered is not None:
        found.append(measured("coverage", *covered))
    return found


def _eigenvalues(values: NDArray[np.float32]) -> NDArray[np.float64]:
    covariance = np.cov(values.astype(np.float64), rowvar=False)
    return np.asarray(np.maximum(np.linalg.eigvalsh(covariance), 1e-12))


def _coverage(values: NDArray[np.float32], pool: Pool) -> tuple[float, float] | None:
    half = min(pool.reference // 2, pool.candidate)
    if half <= 2 * NEIGHBOURS or not values.shape[1]:
        return None
    parts = values[:half], values[half : 2 * half], values[pool.reference :][:half]
    own = _distances(parts[0], parts[0])
    np.fill_diagonal(own, np.inf)
    near = np.sort(own, axis=1)[:, NEIGHBOURS - 1, None]
    shares = [
        float((_distances(parts[0], other) <= near + 1e-6).any(axis=1).mean())
        for other in parts[1:]
    ]
    return shares[0], shares[1]


def _distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * first @ second.T, 0.0)), dtype=np.float64)


def _structural(reference: Sketch, candidate: Sketch, reasons: list[str]) -> list[Measure]:
    sides = reference, candidate
    number = min(NEAR_ROWS, *(len(side.keys) for side in sides))
    repeated = [repeated_share(side) for side in sides]
    near = [near_share(reference.layout, sampled_rows(side, number)) for side in sides]
    if number < max(side.rows for side in sides):
        reasons.append(f"near-duplicates are sought among {number} sampled rows of each side")
    return [
        measured("duplicates", repeated[0], repeated[1]),
        measured("near-duplicates", near[0], near[1]),
    ]


def _semantic(
    sides: tuple[Sketch, Sketch],
    tables: tuple[Any, Any],
    embeddings: Embeddings,
    reasons: list[str],
) -> list[Measure]:
    found = []
    rows = [sampled_rows(side, TEXTS) for side in sides]
    places = [side.places[:TEXTS] for side in sides]
    for name, given in embeddings.items():
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise _misfit(name, f"one {type(given).__name__}")
        one, two = (
            _embedded(name, vectors, side, table, where)
            for vectors, side, table, where in zip(given, sides, tables, places, strict=True)
        )
        if one.shape[1] != two.shape[1]:
            raise _misfit(name, f"{one.shape[1]} and {two.shape[1]} dimensions")
        found += _told(name, "given embeddings", compare_meanings(one, two), reasons)
    names = [column.name for column in sides[0].layout.texts]
    asked = [name for name in names if name not in embeddings]
    texts = []
    if asked and not any(_is_sketch(table) for table in tables):
        texts = [
            read_texts(table, side.layout, asked, where)
            for table, side, where in zip(tables, sides, places, strict=True)
        ]
    for name in asked:
        means, vectors = "TF-IDF", None
        if texts:
            first, second = ([text for text in side[name] if text is not None] for side in texts)
            try:
                vectors = vectorise_texts(first, second)
            except ImportError:
                means = "hashed words"
                reasons.append(f"scikit-learn is not installed: {name} is measured by hashed words")
        else:
            means = "hashed words"
            reasons.append(f"a sketch keeps no texts: {name} is measured by hashed words")
        if means == "hashed words":
            vectors = vectorise_words(rows[0], rows[1], names.index(name))
        found += _told(name, means, compare_meanings(*vectors) if vectors else None, reasons)
    return found


def _is_sketch(table: Any) -> bool:
    return isinstance(table, Sketch) or (isinstance(table, str | Path) and is_stored(table))


def _embedded(
    name: str, vectors: Any, sketch: Sketch, table: Any, where: NDArray[np.int64]
) -> NDArray[np.float64]:
    if _is_sketch(table):
        raise RequestInvalid(
            "embeddings belong to the rows of a table, and a sketch was given",
            field=f"embeddings.{name}",
            remedy="give the tables themselves",
        )
    values = np.asarray(vectors)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or len(values) != sketch.rows:
        raise _misfit(name, f"{values.dtype} {list(values.shape)} for {sketch.rows} rows")
    chosen = values[where].astype(np.float64)
    if not np.isfinite(chosen).all():
        raise _misfit(name, "values that are no numbers")
    return unit_rows(chosen)


def _misfit(name: str, received: str) -> RequestInvalid:
    return RequestInvalid(
        f"the embeddings {name} do not fit the tables",
        field=f"embeddings.{name}",
        expected="a pair of finite float arrays [rows, d], of the reference and the candidate",
        received=received,
    )


def _told(
    name: str, means: str, sides: tuple[Semantics, Semantics] | None, reasons: list[str]
) -> list[Measure]:
    if sides is None:
        reasons.append(f"{name} has too few texts to compare their meaning")
        return []
    one, two = sides
    return [
        measured(label, first, second, name, means)
        for label, first, second in (
            ("vendi score", one.distinct, two.distinct),
            ("similarity", one.similarity, two.similarity),
            ("near-duplicate texts", one.alike, two.alike),
            ("semantic coverage", one.coverage, two.coverage),
        )
    ]
