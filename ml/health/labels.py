"""Tell how well classes are supported, and how many labels contradict those of like rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import Contract, PreprocessingSpec
from ml.core.seeding import stream
from ml.core.splits import Split
from ml.core.table import Table
from ml.health.report import Share
from ml.preprocessing.preprocessor import fit_preprocessor

# Rows that are compared with each other; the time taken grows with the square.
COMPARED = 1_000
LEAST = 50
NEIGHBOURS = 10
SHUFFLES = 99


class LabelNoise(Contract):
    """Hold the ``share`` of rows that are labelled unlike their nearest rows.

    ``chance`` is the share of all but the most frequent class: so many labels contradict where
    features tell nothing. ``p`` is that of shuffled labels agreeing as much as these.
    """

    share: Share
    chance: Share
    rows: int
    p: Share


def count_support(table: Table, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many rows of each class train, and how many are tested, int64 [classes]."""
    trained = np.concatenate([split.train, split.validation])
    least = len(table.classes)
    counts = [
        np.bincount(table.target[rows].astype(np.int64), minlength=least)
        for rows in (trained, split.test)
    ]
    return counts[0], counts[1]


def estimate_noise(table: Table) -> LabelNoise | None:
    """Return how many labels contradict those of like rows.

    None stands for a table without classes, or of fewer than ``LEAST`` rows. A label contradicts
    where it is not the most frequent one among the row's nearest rows (the rule by which Wilson
    1972 edits nearest neighbours), whose features are standardised. The rows are a sample drawn
    by the table's content. What is natural differs between tables, from none to more than the
    rarest class has: compare it with the same table's of another day.
    """
    if not table.classes or table.rows < LEAST:
        return None
    rows = np.arange(table.rows, dtype=np.int64)
    draw = stream(0, "labels", table.content_sha256)
    if rows.size > COMPARED:
        rows = np.sort(draw.choice(rows, size=COMPARED, replace=False))
    features = fit_preprocessor(PreprocessingSpec(), table, rows).transform(table, rows)
    labels = table.target[rows].astype(np.int64)
    counts = np.bincount(labels, minlength=len(table.classes))
    nearest = _nearest(features)
    shares = np.stack([(labels[nearest] == each).mean(axis=1) for each in range(len(counts))], 1)
    own = shares[np.arange(rows.size), labels]
    truth = _agreement(labels, nearest, counts)
    shuffled = [_agreement(draw.permutation(labels), nearest, counts) for _ in range(SHUFFLES)]
    return LabelNoise(
        # Where several are most frequent, the label may be any of them.
        share=float((own < shares.max(axis=1)).mean()),
        chance=float(1 - counts.max() / rows.size),
        rows=int(rows.size),
        p=(1 + sum(other >= truth for other in shuffled)) / (1 + SHUFFLES),
    )


def _nearest(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the places of each row's nearest rows, itself apart, int64 [rows, NEIGHBOURS]."""
    squares = (features.astype(np.float64) ** 2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * (features @ features.T)
    np.fill_diagonal(distances, np.inf)
    return np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def _agreement(
    labels: NDArray[np.int64], nearest: NDArray[np.int64], counts: NDArray[np.int64]
) -> float:
    """Return the mean share of a row's own class among its nearest rows, classes alike."""
    own = (labels[nearest] == labels[:, None]).mean(axis=1)
    sums = np.bincount(labels, own, minlength=counts.size)
    return float((sums / np.maximum(counts, 1))[counts > 0].mean())
