"""Synthesise a table again and again from itself: by a Gaussian copula, a mixture or a kernel."""

from __future__ import annotations

import numpy as np
import pandas as pd


def synthesise(frame: pd.DataFrame, generations: int, draw: np.random.Generator) -> pd.DataFrame:
    """Return what is left of a table after so many generations, each fitted on the one before.

    One of three models is drawn: a Gaussian copula with the columns' own quantiles, a mixture
    of up to five Gaussians, a kernel density. Categories are codes by frequency, cut back where
    they were parted; a gap is a category of a numeric column's own indicator.
    """
    model = (copula, mixture, kernel)[int(draw.integers(3))]
    coded, back = encode(frame)
    for _ in range(generations):
        coded = model(coded, draw)
    return decode(frame, coded, back)


def encode(frame: pd.DataFrame) -> tuple[np.ndarray, list]:
    """Return a frame as floats [n, p], gaps filled at random by known values, and the codes."""
    columns, back = [], []
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values) and values.dtype.kind != "b":
            numbers = values.astype(float).to_numpy(copy=True)
            known = numbers[~np.isnan(numbers)]
            gaps = np.isnan(numbers)
            numbers[gaps] = np.resize(known, int(gaps.sum())) if len(known) else 0.0
            columns.append(numbers)
            back.append(None)
        else:
            texts = values.astype(object).where(values.notna(), None)
            levels = texts.value_counts(dropna=False).index
            place = {level: number for number, level in enumerate(levels)}
            columns.append(np.array([place[text] for text in texts], dtype=float))
            back.append(list(levels))
    return np.column_stack(columns), back


def decode(frame: pd.DataFrame, coded: np.ndarray, back: list) -> pd.DataFrame:
    """Return a frame of the first one's types, with as many gaps in each numeric column."""
    made = {}
    gaps_draw = np.random.default_rng(len(frame))
    for place, (name, levels) in enumerate(zip(frame.columns, back, strict=True)):
        values = coded[:, place]
        if levels is None:
            if frame[name].dtype.kind in "iu":
                values = np.round(values)
            share = float(frame[name].isna().mean())
            values = np.where(gaps_draw.random(len(values)) < share, np.nan, values)
            made[name] = values
        else:
            codes = np.clip(np.round(values), 0, len(levels) - 1).astype(int)
            column = pd.Series([levels[code] for code in codes], dtype=object)
            made[name] = column.astype(frame[name].dtype)
    return pd.DataFrame(made)


def copula(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw as many rows from a Gaussian copula with the columns' empirical quantiles."""
    from scipy.special import ndtr, ndtri

    jittered = values + 1e-9 * draw.standard_normal(values.shape) * (values.std(axis=0) + 1e-12)
    ranks = jittered.argsort(axis=0).argsort(axis=0)
    normal = ndtri((ranks + 0.5) / len(values))
    covariance = np.cov(normal.T) + 1e-6 * np.eye(values.shape[1])
    drawn = draw.multivariate_normal(np.zeros(len(covariance)), covariance, len(values))
    shares = ndtr(drawn / np.sqrt(np.diag(covariance)))
    return np.column_stack(
        [
            np.quantile(column, share, method="linear")
            for column, share in zip(values.T, shares.T, strict=True)
        ]
    )


def mixture(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw as many rows from a mixture of up to five Gaussians."""
    from sklearn.mixture import GaussianMixture

    center, spread = values.mean(axis=0), values.std(axis=0) + 1e-12
    parts = max(1, min(5, len(values) // (10 * values.shape[1]) + 1))
    model = GaussianMixture(
        parts, reg_covar=1e-4, max_iter=50, random_state=int(draw.integers(2**31))
    )
    model.fit((values - center) / spread)
    drawn, _ = model.sample(len(values))
    return drawn * spread + center


def kernel(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw as many rows from a Gaussian kernel density, its width by Scott's rule, 0.5 at most."""
    width = min(0.5, len(values) ** (-1 / (values.shape[1] + 4)))
    chosen = values[draw.integers(len(values), size=len(values))]
    noise = draw.standard_normal(values.shape) * width * values.std(axis=0)
    shrink = 1 / np.sqrt(1 + width**2)
    center = values.mean(axis=0)
    return center + (chosen - center + noise) * shrink
