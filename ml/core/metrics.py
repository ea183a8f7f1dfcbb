"""Score predictions by task, and give the dummy baseline of the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, MatrixError, TrainingDiverged
from ml.core.splits import Split
from ml.core.table import Table

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Hold each metric either as a finite value or, in ``undefined``, as the reason for none."""

    values: dict[str, float]
    undefined: dict[str, str]


class Judge:
    """Score predictions for the test rows of one split of a table.

    ``baseline`` is what a dummy predicts for those rows: the class shares (float64 [n, k]), the
    mean (float64 [n]) or the seasonal naive forecast (float64 [n]). It knows the rows of train
    and validation alike, so that it is the same for every framework. Raises DataInvalid where a
    forecasting table has no time.
    """

    def __init__(self, table: Table, split: Split) -> None:
        known = np.union1d(split.train, split.validation)
        past = table.target[known]
        self._table = table
        self._target = table.target[split.test]
        self._scale = math.nan
        self.baseline: Floats
        if table.task == "classification":
            shares = np.bincount(past.astype(np.int64), minlength=len(table.classes)) / known.size
            self.baseline = np.tile(shares, (split.test.size, 1))
        elif table.task == "regression":
            self.baseline = np.full(split.test.size, past.mean(dtype=np.float64))
        else:
            if table.time is None:
                raise DataInvalid(
                    f"dataset {table.id}: a forecasting table needs a time for each row",
                    field="split.column",
                    remedy="name the time column in split.column, with split.rule = 'time'",
                )
            self.baseline, self._scale = seasonal_naive(
                table.time,
                table.series,
                table.target.astype(np.float64),
                known,
                split.test,
                table.season,
                table.horizon,
            )

    def score(self, prediction: NDArray[Any]) -> Scores:
        """Score probabilities [n, k] or values [n] for the test rows, in the test rows' order.

        Raises TrainingDiverged where a prediction is not finite or not a probability, and
        MatrixError where its shape is wrong.
        """
        if self._table.task == "classification":
            target = self._target.astype(np.int64)
            return score_classification(target, prediction, len(self._table.classes))
        target_values = self._target.astype(np.float64)
        if self._table.task == "regression":
            return score_regression(target_values, prediction)
        return score_forecast(target_values, prediction, self._scale)


def primary_metric(table: Table) -> str:
    """Return the metric by which a table's cells are judged."""
    if table.task == "classification":
        return "roc_auc" if len(table.classes) == 2 else "balanced_accuracy"
    return "rmse" if table.task == "regression" else "mase"


def score_classification(target: Ints, probabilities: NDArray[Any], classes: int) -> Scores:
    """Score probabilities [n, classes] against class indices [n].

    The predicted class is the most probable, the first of equals. ``balanced_accuracy`` is the
    mean recall over the classes that occur in the target. ``f1``, ``roc_auc`` and
    ``average_precision`` are those of the last class where there are two; else the plain means
    of one class against the rest: over all classes, for ``f1`` over the classes that occur in
    target or prediction. ``roc_auc`` and ``average_precision`` count ties as one threshold, the
    latter without interpolation. ``log_loss`` is natural, over rows divided by their sum and
    clipped to [eps, 1 - eps] of float64. All agree with scikit-learn 1.9 where that is defined;
    a metric that needs a class which is not in the target is undefined.

    Raises TrainingDiverged where a probability is not finite, negative, or its row sums to 0.
    """
    rows = target.shape[0]
    scores = _finite(probabilities, (rows, classes))
    sums = scores.sum(axis=1)
    wrong = np.count_nonzero((scores.min(axis=1) < 0) | (sums <= 0))
    if wrong:
        raise TrainingDiverged(
            f"{wrong} of {rows} predicted rows are no probabilities",
            code="prediction_not_probability",
            expected="values of at least 0 with a positive sum",
            remedy="lower the learning rate, or mend the learner's predict",
        )
    predicted = scores.argmax(axis=1)
    confusion = np.bincount(target * classes + predicted, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    hits, actual, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    share = scores[np.arange(rows), target] / sums
    epsilon = np.finfo(np.float64).eps
    values = {
        "accuracy": hits.sum() / rows,
        "balanced_accuracy": np.mean(hits[actual > 0] / actual[actual > 0]),
        "log_loss": -np.log(np.clip(share, epsilon, 1 - epsilon)).mean(),
    }
    undefined: dict[str, str] = {}
    f1 = 2 * hits / np.maximum(actual + claimed, 1)
    if classes == 2:
        tally = _tally(scores[:, 1], target == 1)
        if actual[1]:
            values["f1"] = f1[1]
            values["average_precision"] = _average_precision(*tally)
        else:
            reason = "the positive class does not occur in the test rows"
            undefined |= {"f1": reason, "average_precision": reason}
        if actual.all():
            values["roc_auc"] = _roc_auc(*tally)
        else:
            undefined["roc_auc"] = "only one class occurs in the test rows"
    else:
        values["f1"] = f1[actual + claimed > 0].mean()
        if classes > 1 and actual.all():
            tallies = [_tally(scores[:, c], target == c) for c in range(classes)]
            values["roc_auc"] = np.mean([_roc_auc(*tally) for tally in tallies])
            values["average_precision"] = np.mean([_average_precision(*t) for t in tallies])
        else:
            reason = f"{np.count_nonzero(actual)} of {classes} classes occur in the test rows"
            undefined |= {"roc_auc": reason, "average_precision": reason}
    return _scores(values, undefined)


def score_regression(target: Floats, prediction: NDArray[Any]) -> Scores:
    """Score values [n] against a target [n], both in the target's own unit.

    ``r2`` is undefined for fewer than two rows and for a constant target. Raises
    TrainingDiverged where a prediction is not finite.
    """
    values = _finite(prediction, target.shape)
    undefined: dict[str, str] = {}
    # A finite prediction may be so far off that its square is not.
    with np.errstate(over="ignore", invalid="ignore"):
        error = values - target
        found = {"rmse": np.sqrt(np.mean(error**2)), "mae": np.mean(np.abs(error))}
        if target.size < 2:
            undefined["r2"] = "fewer than 2 test rows"
        elif target.min() == target.max():
            undefined["r2"] = "the target is constant in the test rows"
        else:
            found["r2"] = 1 - np.sum(error**2) / np.sum((target - target.mean()) ** 2)
    return _scores(found, undefined)


def score_forecast(target: Floats, prediction: NDArray[Any], scale: float) -> Scores:
    """Score a forecast [n] like a regression, and by ``mase``: its mae divided by ``scale``.

    ``mase`` is undefined where the scale is 0, or NaN for a missing one. Source: Hyndman &
    Koehler (2006), Another look at measures of forecast accuracy, International Journal of
    Forecasting 22(4), 679-688.
    """
    plain = score_regression(target, prediction)
    values, undefined = dict(plain.values), dict(plain.undefined)
    if math.isnan(scale):
        undefined["mase"] = "no training row has an earlier period in its series"
    elif scale == 0:
        undefined["mase"] = "the naive forecast makes no error in the training rows"
    elif "mae" in values:
        values["mase"] = values["mae"] / scale
    else:
        undefined["mase"] = undefined["mae"]
    return _scores(values, undefined)


def seasonal_naive(
    time: Ints,
    series: NDArray[np.int32] | None,
    target: Floats,
    train: Ints,
    test: Ints,
    season: int,
    horizon: int = 1,
) -> tuple[Floats, float]:
    """Forecast the test rows by the season before; return the forecast [len(test)] and a scale.

    ``time`` (int64, in periods), ``series`` and ``target`` (float64) are of all rows, ``train``
    and ``test`` row indices. Rows of one series and period are averaged. The forecast for period
    t is the value at t - m·season for the smallest m that exists in that series and is known
    ``horizon`` periods ahead, be it of a training or of an earlier test row, as it is for a
    model's lags; else the series' last one that is known by then; else the training mean.

    The scale is the mean absolute error in the training rows of the forecast from exactly one
    season before, where that exists in the series; where none does, from the last period
    before; NaN where none is. Dividing by it gives MASE: Hyndman & Koehler (2006),
    International Journal of Forecasting 22(4), 679-688.
    """
    member = np.zeros(time.size, np.int64) if series is None else series.astype(np.int64)
    seen = np.concatenate([train, test])
    order = seen[np.lexsort((time[seen], member[seen]))]
    fresh = np.ones(order.size, dtype=bool)
    fresh[1:] = (np.diff(member[order]) != 0) | (np.diff(time[order]) != 0)
    panel = np.cumsum(fresh) - 1
    known_series, known_time = member[order][fresh], time[order][fresh]
    mean = np.bincount(panel, weights=target[order]) / np.bincount(panel)

    def before(rows: Ints, cycle: int, asked: Ints) -> Ints:
        return _latest_before(
            (known_series, known_time % cycle, known_time),
            (member[rows], time[rows] % cycle, asked),
        )

    known_until = time[test] - horizon + 1
    found = before(test, season, known_until)
    ever = before(test, 1, known_until)
    last = np.where(ever >= 0, mean[ever], target[train].mean())
    forecast = np.where(found >= 0, mean[found], last)

    # Training rows stand before all test rows, so what lies before them is training too.
    source = before(train, season, time[train])
    usable = (source >= 0) & (known_time[source] == time[train] - season)
    if not usable.any():
        source = before(train, 1, time[train])
        usable = source >= 0
    if not usable.any():
        return forecast, math.nan
    return forecast, float(np.abs(target[train] - mean[source])[usable].mean())


def _latest_before(known: tuple[Ints, Ints, Ints], asked: tuple[Ints, Ints, Ints]) -> Ints:
    """Return for each asked (key, key, time) the known index of its keys' latest earlier time.

    It is -1 where there is none. ``known`` and ``asked`` each are three arrays of one length.
    """
    size = known[0].size
    first, second, when = (np.concatenate(pair) for pair in zip(known, asked, strict=True))
    is_known = np.arange(first.size) < size
    # Of equals the asked one sorts before the known one, so that only earlier times are found.
    order = np.lexsort((is_known, when, second, first))
    place = np.where(is_known[order], np.arange(order.size), -1)
    latest = np.maximum.accumulate(place)
    found = np.empty(order.size, dtype=np.int64)
    found[order] = np.where(latest >= 0, order[latest], -1)
    found = found[size:]
    same = (first[found] == asked[0]) & (second[found] == asked[1])
    return np.where((found >= 0) & same, found, -1)


def _tally(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Count positives and negatives at each distinct score, from the highest down."""
    distinct, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place[positive], minlength=distinct.size)
    return hits, np.bincount(place, minlength=distinct.size) - hits


def _roc_auc(hits: Ints, misses: Ints) -> float:
    below = misses.sum() - np.cumsum(misses)
    return float(np.sum(hits * (below + misses / 2)) / (hits.sum() * misses.sum()))


def _average_precision(hits: Ints, misses: Ints) -> float:
    found = np.cumsum(hits)
    precision = found / (found + np.cumsum(misses))
    return float(np.sum(hits * precision) / hits.sum())


def _finite(prediction: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    values = np.asarray(prediction, dtype=np.float64)
    if values.shape != shape:
        raise MatrixError(
            "the learner's predictions have the wrong shape",
            code="prediction_shape",
            expected=str(shape),
            received=str(values.shape),
            remedy="return one row for each row of features from predict",
        )
    fine = np.isfinite(values).reshape(shape[0], -1).all(axis=1)
    if not fine.all():
        raise TrainingDiverged(
            f"{np.count_nonzero(~fine)} of {fine.size} predictions are not finite",
            code="prediction_not_finite",
            expected="finite numbers",
            remedy="lower the learning rate, or look at the scale of the features",
        )
    return values


def _scores(values: dict[str, Any], undefined: dict[str, str]) -> Scores:
    plain = {name: float(value) for name, value in values.items()}
    huge = [name for name, value in plain.items() if not math.isfinite(value)]
    return Scores(
        values={name: value for name, value in plain.items() if name not in huge},
        undefined=undefined | dict.fromkeys(huge, "it exceeds the range of float64"),
    )
