"""Estimators that each break one promise of the matrix, and one that keeps them all."""

import os

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge


class Fine(BaseEstimator):
    """Be a logistic or a ridge regression, whichever the target asks for."""

    def __init__(self, depth=1):
        self.depth = depth

    def fit(self, features, target):
        classifies = target.dtype.kind == "i"
        self.model_ = (LogisticRegression() if classifies else Ridge()).fit(features, target)
        if classifies:
            self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, features):
        return self.model_.predict_proba(features)

    def predict(self, features):
        return self.model_.predict(features)


class Guesses(Fine):
    def fit(self, features, target):
        return super().fit(np.zeros_like(features), target)


class SeesTheFirstOfMany(Fine):
    def predict_proba(self, features):
        shares = super().predict_proba(features)
        if shares.shape[1] > 2:
            shares[:, 1:] = 0
        return shares


class Explodes(Fine):
    def predict(self, features):
        return super().predict(features) + 1e6


class Wavers(Fine):
    def fit(self, features, target):
        noise = np.frombuffer(os.urandom(features.size), np.uint8).reshape(features.shape)
        return super().fit(features + noise / 100, target)


class Remembers(Fine):
    fits = []  # noqa: RUF012 - shared, which is the fault

    def fit(self, features, target):
        self.fits.append(features)
        return super().fit(features + len(self.fits) * features[:, :1] ** 2, target)


class Meddles(Fine):
    def fit(self, features, target):
        known = RandomForestClassifier.predict_proba
        if known.__name__ != "flatter":

            def flatter(forest, features):
                return np.round(known(forest, features), 0)

            RandomForestClassifier.predict_proba = flatter
        return super().fit(features, target)


class NeedsNumbers(Fine):
    def fit(self, features, target):
        if min(len(np.unique(column)) for column in features.T) < 9:
            raise TypeError("a column of categories")
        return super().fit(features, target)


class NeedsTwoFeatures(Fine):
    def fit(self, features, target):
        features[0, 1]
        return super().fit(features, target)


class NeedsRows(Fine):
    def fit(self, features, target):
        if len(features) < 50:
            raise ArithmeticError("too few")
        return super().fit(features, target)


class NeedsDepth(Fine):
    def fit(self, features, target):
        if self.depth < 1:
            raise ArithmeticError("no depth")
        return super().fit(features, target)
