"""Measure how many different things texts say: by TF-IDF, by given embeddings, by hashed words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.batches import open_source
from ml.health.columns import BUCKETS, words_of
from ml.health.files import Reread
from ml.health.joint import effective_rank
from ml.health.layout import Layout
from ml.health.prepared import Rows

Values = NDArray[np.float64]
# Texts of each side; what compares each with each grows with their square.
TEXTS = 1000
FEATURES = 20_000
# The cosine from which on two texts say nearly the same.
ALIKE = 0.9
NEIGHBOURS = 5
LEAST_TEXTS = 20
WORD = r"(?u)\b\w+\b"


@dataclass(frozen=True)
class Semantics:
    """Hold what one side's texts come to; see ``ml.health.diversity`` for their meaning."""

    distinct: float
    similarity: float
    alike: float
    coverage: float


def read_texts(table: Any, layout: Layout, names: list[str], rows: NDArray[np.int64]) -> Any:
    """Return the texts of these rows of a DataFrame, path or URL: lists by column, in order.

    A missing text is None. It takes a second pass over a file.
    """
    source = open_source(table)
    while True:
        try:
            return _read(source, layout, names, rows)
        except Reread:
            continue


def _read(
    source: Any, layout: Layout, names: list[str], rows: NDArray[np.int64]
) -> dict[str, list[str | None]]:
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    found: dict[str, list[str | None]] = {name: [None] * len(rows) for name in names}
    first = 0
    for batch in source.batches(layout):
        low, high = np.searchsorted(wanted, [first, first + batch.num_rows])
        if high > low:
            for name in names:
                words = words_of(batch.column(name).take(_indices(wanted[low:high] - first)))
                for place, code in zip(order[low:high], words.codes, strict=True):
                    found[name][place] = None if code < 0 else words.labels[code]
        first += batch.num_rows
    return found


def _indices(rows: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(rows)


def vectorise_texts(first: list[str], second: list[str]) -> tuple[Any, Any] | None:
    """Return both sides' TF-IDF vectors of length 1, sparse [n, words]; None where no word is.

    A word that one text of a side has at most, such as a number, says nothing of likeness and
    is left out. Raises ImportError without scikit-learn.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = TfidfVectorizer(sublinear_tf=True, norm=None, token_pattern=WORD)
    try:
        vectors = vectorizer.fit_transform([*first, *second])
    except ValueError:
        return None
    sides = vectors[: len(first)], vectors[len(first) :]
    texts = np.maximum(*(side.getnnz(axis=0) for side in sides))
    kept = np.argsort(-texts, kind="stable")[:FEATURES]
    kept = kept[texts[kept] > 1]
    return normalize(sides[0][:, kept]), normalize(sides[1][:, kept])


def vectorise_words(first: Rows, second: Rows, place: int) -> tuple[Values, Values]:
    """Return both sides' hashed words of one text column, weighted by rarity, [n, BUCKETS]."""
    sides = [
        np.unpackbits(rows.tokens[place], axis=1)[:, :BUCKETS].astype(np.float64)
        for rows in (first, second)
    ]
    texts = sum(len(side) for side in sides)
    have = sides[0].sum(axis=0) + sides[1].sum(axis=0)
    weights = np.log((1 + texts) / (1 + have)) + 1
    return unit_rows(sides[0] * weights), unit_rows(sides[1] * weights)


def unit_rows(vectors: Values) -> Values:
    """Return vectors [n, d] of length 1 each; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def compare_meanings(first: Any, second: Any) -> tuple[Semantics, Semantics] | None:
    """Return what vectors of length 1, dense or sparse [n, d], come to on each side.

    Sides are compared at an equal number of texts, those in excess left out; None where there
    are too few. The reference's own coverage is that of its one half by the other.
    """
    number = min(first.shape[0], second.shape[0])
    if number < LEAST_TEXTS:
        return None
    first, second = first[:number], second[:number]
    own, other = (_cosines(side, side) for side in (first, second))
    half = number // 2
    near = _within(own[:half, :half])
    covered = [
        float((cosines >= near[:, None] - 1e-9).any(axis=1).mean())
        for cosines in (own[:half, half : 2 * half], _cosines(first[:half], second[:half]))
    ]
    return _measure(own, covered[0]), _measure(other, covered[1])


def _measure(cosines: Values, coverage: float) -> Semantics:
    number = len(cosines)
    apart = cosines - np.diag(np.diag(cosines))
    values = np.maximum(np.linalg.eigvalsh(cosines / number), 0.0)
    return Semantics(
        distinct=float(effective_rank(values)) if values.sum() > 0 else 0.0,
        similarity=float(apart.sum() / (number * (number - 1))),
        alike=float((apart.max(axis=1) >= ALIKE).mean()),
        coverage=coverage,
    )


def _cosines(first: Any, second: Any) -> Values:
    product = first @ second.T
    dense = product.toarray() if hasattr(product, "toarray") else product
    return np.asarray(dense, dtype=np.float64)


def _within(cosines: Values) -> Values:
    """Return the cosine of each text's NEIGHBOURS-th nearest other text."""
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    return np.sort(others, axis=1)[:, -NEIGHBOURS]
