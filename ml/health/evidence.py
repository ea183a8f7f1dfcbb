"""Ask a classifier whose rows are whose: evidence beside the test, never the verdict."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ml.core.seeding import stream
from ml.health.encoded import normal_scores
from ml.health.hashing import mix
from ml.health.pool import Pool, bin_codes
from ml.health.report import ClassifierTest

LEAST_ROWS = 40
COLUMNS = 100
TREES = 20


def classify_sides(pool: Pool, *, grouped: bool, seed: int) -> ClassifierTest:
    """Return the classifier two-sample test (Lopez-Paz and Oquab 2017) on one hold-out split.

    Half of the rows train extremely randomised trees, the others are held out, equal rows, or
    whole groups, on one side: by their hashes. The p is the normal one of the rank sum.
    """
    try:
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError:
        return ClassifierTest(
            reason="scikit-learn is not installed: pip install 'pytest-mlmatrix[datasets]'"
        )
    if grouped:
        return ClassifierTest(reason="rows in groups: its p would take rows for independent")
    if min(pool.reference, pool.candidate) < LEAST_ROWS:
        return ClassifierTest(reason=f"fewer than {LEAST_ROWS} rows on a side")
    features = side_features(pool)
    if not features.shape[1]:
        return ClassifierTest(reason="no columns to tell rows by")
    side = np.zeros(pool.rows, dtype=np.int64)
    side[pool.reference :] = 1
    held = mix(pool.hashes + np.uint64(seed & (2**63 - 1))) % np.uint64(2) == 0
    if any(len(np.unique(side[part])) < 2 for part in (held, ~held)):
        return ClassifierTest(reason="too few distinct rows for a hold-out split")
    draw = stream(seed, "health", "classifier")
    model = ExtraTreesClassifier(
        TREES, min_samples_leaf=5, n_jobs=1, random_state=int(draw.integers(2**31))
    )
    model.fit(features[~held], side[~held])
    scores = model.predict_proba(features[held])[:, 1]
    auc, p = rank_sum(scores, side[held] == 1)
    return ClassifierTest(auc=auc, p=p, rows=int(held.sum()))


def side_features(pool: Pool) -> NDArray[np.float32]:
    """Return pooled rows as a classifier sees them, [n, w]."""
    columns = []
    for values in pool.numbers[:COLUMNS]:
        columns.append(np.where(np.isnan(values), -9.0, normal_scores(values)))
    for codes in pool.codes[:COLUMNS]:
        columns.append(bin_codes("", codes, 30).codes.astype(np.float64))
    for tokens in pool.tokens:
        columns += list(tokens[:, tokens.any(axis=0)].T[:COLUMNS].astype(np.float64))
    if not columns:
        return np.zeros((pool.rows, 0), dtype=np.float32)
    return np.stack(columns, axis=1).astype(np.float32)


def rank_sum(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the AUC of scores and its one-sided p by the normal approximation, ties corrected."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones, zeros = int(positive.sum()), int((~positive).sum())
    statistic = ranks[positive].sum() - ones * (ones + 1) / 2
    rows = ones + zeros
    ties = float((counts.astype(float) ** 3 - counts).sum()) / (rows * (rows - 1))
    variance = ones * zeros / 12 * (rows + 1 - ties)
    z = (statistic - ones * zeros / 2) / math.sqrt(variance) if variance > 0 else 0.0
    return float(statistic / (ones * zeros)), 0.5 * math.erfc(z / math.sqrt(2))
