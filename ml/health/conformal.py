"""Turn scores into p values by the reference's own scores, and adjust them for many rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def conformal_p(reference: Values, candidate: Values) -> Values:
    """Return the share of the reference's scores that are as high as each of the candidate's.

    The row itself counts as one of them, so that no p is 0 (Vovk et al. 2005; of outliers Bates
    et al. 2023).
    """
    ordered = np.sort(reference)
    above = len(ordered) - np.searchsorted(ordered, candidate, side="left")
    return np.asarray((1.0 + above) / (1.0 + len(ordered)))


def adjust(p: Values) -> Values:
    """Return p values adjusted for their number (Benjamini and Hochberg 1995), 1 at most."""
    order = np.argsort(p, kind="stable")
    ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(ranked[::-1])[::-1]
    return np.minimum(adjusted, 1.0)
