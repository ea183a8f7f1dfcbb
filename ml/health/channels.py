"""Score pooled rows by channel: how unlike the reference's each row is, how oddly repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.core.seeding import stream
from ml.health.evidence import LEAST_ROWS, side_features
from ml.health.hashing import Hashes, mix
from ml.health.located import Channel
from ml.health.places import Places, nearest_rows
from ml.health.pool import Pool
from ml.health.surprise import Surprises

Scores = NDArray[np.float64]
Distances = NDArray[np.float32]
# Repeated rows come before all others, by how far they lie from the other side's.
NOT = -1.0
TREES = 50
FOLDS = 2
UNLIKE: tuple[Channel, ...] = ("cell", "distance", "classifier")


@dataclass(frozen=True)
class Scored:
    """Hold each channel's scores of all pooled rows, [n], and the neighbours in the reference."""

    scores: dict[Channel, Scores]
    neighbours: NDArray[np.int64]
    reasons: tuple[str, ...]


def score_pool(
    pool: Pool, places: Places, surprises: Surprises, *, grouped: bool, seed: int
) -> Scored:
    """Score the rows of both sides alike, so that the reference's tell what is usual."""
    first = pool.reference
    sides = slice(0, first), slice(first, pool.rows)
    groups = pool.groups if grouped else None
    own, _ = nearest_rows(places.near, sides[0], sides[0], groups)
    far, neighbours = nearest_rows(places.near, sides[1], sides[0], groups)
    apart = _apart(pool, places, groups)
    again, copied = count_repeats(pool.hashes[:first], pool.hashes[first:])
    scores: dict[Channel, Scores] = {
        "cell": surprises.max(axis=0) if len(surprises) else np.zeros(pool.rows),
        "distance": _mean(own, far),
        "repeated": np.where(again, apart, NOT),
        "copied": np.where(copied, surprises.sum(axis=0), NOT),
    }
    votes, reason = _votes(pool, grouped=grouped, seed=seed)
    if votes is not None:
        scores["classifier"] = votes
    return Scored(scores, neighbours, () if reason is None else (reason,))


def _apart(pool: Pool, places: Places, groups: Hashes | None) -> Scores:
    """Return each row's distance to the other side, to as many of its rows from both sides."""
    first, most = pool.reference, min(pool.reference, pool.candidate)
    across, _ = nearest_rows(places.near, slice(0, first), slice(first, first + most), groups)
    back, _ = nearest_rows(places.near, slice(first, pool.rows), slice(0, most), groups)
    return _mean(across, back)


def _mean(reference: Distances, candidate: Distances) -> Scores:
    """Return mean distances; where a row has no neighbour, it does not help to flag one."""
    means = []
    for distances, unknown in ((reference, np.inf), (candidate, -np.inf)):
        known = np.isfinite(distances)
        sums = np.where(known, distances, 0.0).sum(axis=1, dtype=np.float64)
        counts = known.sum(axis=1)
        means.append(np.where(counts > 0, sums / np.maximum(counts, 1), unknown))
    return np.concatenate(means)


def count_repeats(
    reference: Hashes, candidate: Hashes
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which rows are repeated on their own side, and which are copies, [n] each.

    A candidate's row is a copy where the reference has it; a row of the reference where another
    one of the reference is equal, which is what chance would copy.
    """
    sides = []
    for hashes in (reference, candidate):
        _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        sides.append(counts[place] > 1)
    return np.concatenate(sides), np.concatenate([sides[0], np.isin(candidate, reference)])


def _votes(pool: Pool, *, grouped: bool, seed: int) -> tuple[Scores | None, str | None]:
    """Return how surely trees that did not see a row call it the candidate's.

    Equal rows, or whole groups, are in one fold.
    """
    try:
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError:
        return None, (
            "no classifier looked at the rows, as scikit-learn is not installed: "
            "pip install 'pytest-mlmatrix[datasets]'"
        )
    few = f"no classifier looked at the rows, as a side has fewer than {LEAST_ROWS}"
    if min(pool.reference, pool.candidate) < LEAST_ROWS:
        return None, few
    features = side_features(pool)
    if not features.shape[1]:
        return None, "no classifier looked at the rows, as they have no columns"
    side = np.arange(pool.rows) >= pool.reference
    keys = pool.groups if grouped else pool.hashes
    fold = mix(keys + np.uint64(seed & (2**63 - 1))) % np.uint64(FOLDS)
    draw = stream(seed, "health", "locate")
    votes = np.zeros(pool.rows)
    for number in range(FOLDS):
        held = fold == number
        if any(len(np.unique(side[part])) < 2 for part in (held, ~held)):
            return None, "no classifier looked at the rows, as too few of them are distinct"
        model = ExtraTreesClassifier(
            TREES, min_samples_leaf=5, n_jobs=1, random_state=int(draw.integers(2**31))
        )
        model.fit(features[~held], side[~held])
        votes[held] = model.predict_proba(features[held])[:, 1]
    return votes, None
