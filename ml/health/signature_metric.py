"""Learn from signatures of known damage which distance tells its kinds apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
# A feature that lies further from the mean than so many standard deviations is taken as there.
FAR = 5.0
# What is added to each variance within kinds, of their mean; and the weight of directions in
# which the known kinds do not differ, but a new one may.
RIDGE = 0.1
OTHER_DIRECTIONS = 0.3
# The standard deviation of a feature that no signature has.
UNSEEN = 0.1


@dataclass(frozen=True)
class Metric:
    """Hold a linear map of features; distances are Euclidean between what it makes of them."""

    mean: Values
    scale: Values
    projection: Values

    def project(self, features: Values) -> Values:
        """Return features [n, f] in the space of distances, [n, f]."""
        return np.clip((features - self.mean) / self.scale, -FAR, FAR) @ self.projection


def learn_metric(features: Values, kinds: list[str]) -> Metric:
    """Return the metric of signatures [n, f] of known kinds.

    What varies within kinds is whitened, and the directions along which their means differ
    weigh most: linear discriminant analysis (Fisher 1936; Rao 1948), its other directions kept.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 1e-9, spread, UNSEEN)
    scores = np.clip((features - mean) / scale, -FAR, FAR)
    names, places = np.unique(np.array(kinds), return_inverse=True)
    means = np.stack([scores[places == place].mean(axis=0) for place in range(len(names))])
    centered = scores - means[places]
    weights = 1 / np.bincount(places)[places]
    within = (centered * weights[:, None]).T @ centered / len(names)
    width = len(within)
    within += np.eye(width) * RIDGE * max(np.trace(within) / width, 1e-9)
    values, vectors = np.linalg.eigh(within)
    whitened = vectors / np.sqrt(values) @ vectors.T
    _, _, directions = np.linalg.svd((means - means.mean(axis=0)) @ whitened)
    strength = np.full(width, OTHER_DIRECTIONS)
    strength[: len(names) - 1] = 1.0
    return Metric(mean, scale, (whitened @ directions.T) * strength / np.sqrt(width))
