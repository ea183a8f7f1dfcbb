"""Tell how well classes are supported, and how many labels contradict those of like rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import PreprocessingSpec
from ml.core.seeding import stream
from ml.core.splits import Split
from ml.core.table import Table
from ml.preprocessing.preprocessor import fit_preprocessor

# Rows that are compared with each other; the time taken grows with the square.
COMPARED = 1_000
LEAST = 50
NEIGHBOURS = 10


def count_support(table: Table, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many rows of each class train, and how many are tested, int64 [classes]."""
    trained = np.concatenate([split.train, split.validation])
    least = len(table.classes)
    counts = [
        np.bincount(table.target[rows].astype(np.int64), minlength=least)
        for rows in (trained, split.test)
    ]
    return counts[0], counts[1]


def estimate_noise(table: Table) -> tuple[float, int] | None:
    """Return the share of rows that are confidently labelled wrong, and of how many rows.

    None stands for a table without classes, or of fewer than ``LEAST`` rows. Confident learning
    (Northcutt, Jiang and Chuang 2021) with the shares of each class among a row's nearest rows,
    itself apart, in place of a classifier: a row is confidently of a class whose share reaches
    the mean share of that class among the rows that are labelled with it. The rows are a sample
    drawn by the table's content. What is natural differs between tables, from none to a third
    and more: compare it with the same table's of another day.
    """
    if not table.classes or table.rows < LEAST:
        return None
    rows = np.arange(table.rows, dtype=np.int64)
    if rows.size > COMPARED:
        draw = stream(0, "labels", table.content_sha256)
        rows = np.sort(draw.choice(rows, size=COMPARED, replace=False))
    features = fit_preprocessor(PreprocessingSpec(), table, rows).transform(table, rows)
    labels = table.target[rows].astype(np.int64)
    shares = _shares(features, labels, len(table.classes))
    there = np.bincount(labels, minlength=len(table.classes)) > 0
    limits = np.array(
        [shares[labels == each, each].mean() if there[each] else 2.0 for each in range(len(there))]
    )
    # Of a class whose rows are nowhere near each other one would be confident with no neighbour.
    limits = np.maximum(limits, 1 / NEIGHBOURS)
    confident = np.where(shares >= limits, shares, -1.0)
    other = confident.argmax(axis=1) != labels
    return float((other & (confident.max(axis=1) >= 0)).mean()), int(rows.size)


def _shares(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return the share of each class among each row's nearest rows, float64 [rows, classes]."""
    squares = (features.astype(np.float64) ** 2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * (features @ features.T)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    found = labels[nearest]
    return np.stack([(found == each).mean(axis=1) for each in range(classes)], axis=1)
