import warnings

import numpy as np
import pytest

from ml.core.contracts import GREATER_IS_BETTER, SplitRule
from ml.core.errors import DataInvalid, MatrixError, TrainingDiverged
from ml.core.metrics import (
    Judge,
    primary_metric,
    score_classification,
    score_forecast,
    score_regression,
)
from ml.core.splits import Split, split_rows
from ml.core.table import Table

pytestmark = pytest.mark.unit


def draw_probabilities(rng, rows, classes, steps):
    """Few steps make many ties, and zeros and ones; each row still sums to 1."""
    raw = rng.random((rows, classes)) ** 2
    return rng.multinomial(steps, raw / raw.sum(axis=1, keepdims=True)) / steps


def make_table(task, target, classes=(), **others):
    return Table(
        id="t",
        task=task,
        content_sha256="0" * 64,
        numeric=np.zeros((len(target), 1)),
        numeric_names=("x",),
        categorical=np.zeros((len(target), 0), np.int32),
        categorical_names=(),
        levels=(),
        target=np.asarray(target, np.int64 if classes else np.float64),
        classes=tuple(classes),
        **{"split": SplitRule(), **others},
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("steps", [8, 10**12])
@pytest.mark.parametrize("share", [0.5, 0.03])
def test_binary_scores_equal_those_of_scikit_learn(seed, steps, share):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    target = (rng.random(301) < share).astype(np.int64)
    target[:2] = 0, 1
    shares = draw_probabilities(rng, 301, 2, steps)
    scores = score_classification(target, shares, 2)
    predicted = shares.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(target, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(target, predicted),
        "f1": reference.f1_score(target, predicted),
        "roc_auc": reference.roc_auc_score(target, shares[:, 1]),
        "average_precision": reference.average_precision_score(target, shares[:, 1]),
        "log_loss": reference.log_loss(target, shares),
    }
    assert scores.undefined == {}
    assert scores.values == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("steps", [8, 10**12])
@pytest.mark.parametrize("classes", [3, 7])
def test_multiclass_scores_equal_those_of_scikit_learn(seed, steps, classes):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    weights = 0.5 ** np.arange(1, classes + 1)
    target = rng.choice(classes, 400, p=weights / weights.sum())
    target[:classes] = np.arange(classes)
    shares = draw_probabilities(rng, 400, classes, steps)
    scores = score_classification(target, shares, classes)
    predicted = shares.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(target, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(target, predicted),
        "f1": reference.f1_score(target, predicted, average="macro"),
        "roc_auc": reference.roc_auc_score(target, shares, multi_class="ovr"),
        "average_precision": reference.average_precision_score(target, shares),
        "log_loss": reference.log_loss(target, shares),
    }
    assert scores.undefined == {}
    assert scores.values == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_absent_classes_leave_what_scikit_learn_still_defines():
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    target = rng.choice([0, 2, 3], 60)
    shares = draw_probabilities(rng, 60, 5, 100)
    predicted = shares.argmax(axis=1)
    assert set(predicted) - set(target)
    scores = score_classification(target, shares, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": reference.accuracy_score(target, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(target, predicted),
            "f1": reference.f1_score(target, predicted, average="macro"),
            "log_loss": reference.log_loss(target, shares, labels=range(5)),
        }
    assert scores.values == pytest.approx(expected, rel=1e-12)
    reason = "3 of 5 classes occur in the test rows"
    assert scores.undefined == {"roc_auc": reason, "average_precision": reason}


def test_a_binary_test_part_without_positives_says_so():
    scores = score_classification(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), 2)
    assert scores.values == pytest.approx(
        {
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "log_loss": -(np.log(0.9) + np.log(0.2)) / 2,
        }
    )
    assert set(scores.undefined) == {"f1", "average_precision", "roc_auc"}
    assert "positive class does not occur" in scores.undefined["f1"]


def test_one_test_row_scores_what_it_can():
    scores = score_classification(np.array([1]), np.array([[0.25, 0.75]]), 2)
    assert scores.values == pytest.approx(
        {
            "accuracy": 1,
            "balanced_accuracy": 1,
            "f1": 1,
            "average_precision": 1,
            "log_loss": -np.log(0.75),
        }
    )
    assert scores.undefined == {"roc_auc": "only one class occurs in the test rows"}
    assert score_regression(np.array([2.0]), np.array([5.0])).values == {"rmse": 3.0, "mae": 3.0}


def test_certain_mistakes_cost_what_scikit_learn_charges():
    scores = score_classification(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), 2)
    epsilon = np.finfo(np.float64).eps
    assert scores.values["log_loss"] == pytest.approx(
        -(np.log(epsilon) + np.log1p(-epsilon)) / 2, rel=1e-12
    )
    assert scores.values["roc_auc"] == 0.5


def test_rows_that_do_not_sum_to_one_are_divided_by_their_sum():
    whole = score_classification(np.array([0, 1]), np.array([[3.0, 1.0], [1.0, 1.0]]), 2)
    assert whole.values["log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)


def test_every_value_is_a_plain_float_of_a_known_metric():
    scores = [
        score_classification(np.array([0, 1]), np.eye(2, dtype=np.float32), 2),
        score_regression(np.array([0.0, 1.0]), np.array([0.0, 0.0], dtype=np.float32)),
        score_forecast(np.array([0.0, 1.0]), np.array([0.0, 0.0]), 2.0),
    ]
    for part in scores:
        assert all(type(value) is float for value in part.values.values())
        assert set(part.values) <= set(GREATER_IS_BETTER)


@pytest.mark.parametrize("seed", range(3))
def test_regression_scores_equal_those_of_scikit_learn(seed):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    target, prediction = rng.normal(1e3, 5, 100), rng.normal(1e3, 5, 100)
    scores = score_regression(target, prediction)
    expected = {
        "rmse": reference.root_mean_squared_error(target, prediction),
        "mae": reference.mean_absolute_error(target, prediction),
        "r2": reference.r2_score(target, prediction),
    }
    assert scores.undefined == {}
    assert scores.values == pytest.approx(expected, rel=1e-12)


def test_r2_is_undefined_for_a_constant_target_and_one_row():
    constant = score_regression(np.full(3, 0.1), np.array([0.1, 0.2, 0.3]))
    assert constant.undefined == {"r2": "the target is constant in the test rows"}
    assert score_regression(np.ones(1), np.ones(1)).undefined == {"r2": "fewer than 2 test rows"}


def test_a_prediction_too_far_off_for_float64_is_undefined_and_not_infinite():
    scores = score_regression(np.array([0.0, 1.0]), np.array([1e200, 0.0]))
    assert scores.values == {"mae": pytest.approx(5e199)}
    assert scores.undefined["rmse"] == "it exceeds the range of float64"
    assert "r2" in scores.undefined


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_are_counted_and_refused(bad):
    prediction = np.array([[0.5, 0.5], [bad, 0.5], [bad, bad]])
    with pytest.raises(TrainingDiverged, match="2 of 3 predictions are not finite") as caught:
        score_classification(np.array([0, 1, 1]), prediction, 2)
    assert caught.value.code == "prediction_not_finite"
    with pytest.raises(TrainingDiverged, match="1 of 2 predictions"):
        score_regression(np.zeros(2), np.array([0.0, bad]))
    with pytest.raises(TrainingDiverged, match="1 of 2 predictions"):
        score_forecast(np.zeros(2), np.array([0.0, bad]), 1.0)


def test_predictions_that_are_no_probabilities_are_refused():
    with pytest.raises(TrainingDiverged, match="2 of 3 predicted rows") as caught:
        score_classification(
            np.array([0, 1, 0]), np.array([[1.5, -0.5], [0.0, 0.0], [1.0, 0.0]]), 2
        )
    assert caught.value.code == "prediction_not_probability"


def test_predictions_of_the_wrong_shape_are_refused():
    with pytest.raises(MatrixError, match=r"expected \(2, 2\); received \(2,\)") as caught:
        score_classification(np.array([0, 1]), np.array([0.1, 0.9]), 2)
    assert caught.value.code == "prediction_shape"
    with pytest.raises(MatrixError, match=r"expected \(2,\); received \(2, 1\)"):
        score_regression(np.zeros(2), np.zeros((2, 1)))


def test_mase_is_the_error_in_units_of_the_scale_or_undefined():
    target, prediction = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    assert score_forecast(target, prediction, 0.5).values["mase"] == 3.0
    assert "makes no error" in score_forecast(target, prediction, 0.0).undefined["mase"]
    assert "no training row" in score_forecast(target, prediction, np.nan).undefined["mase"]


def test_the_primary_metric_follows_from_the_task():
    assert primary_metric(make_table("classification", [0, 1], "ab")) == "roc_auc"
    assert primary_metric(make_table("classification", [0, 1], "abc")) == "balanced_accuracy"
    assert primary_metric(make_table("regression", [0, 1])) == "rmse"
    assert primary_metric(make_table("forecasting", [0, 1])) == "mase"


def test_the_baseline_of_a_classification_is_the_class_shares():
    table = make_table("classification", [0, 0, 1, 0, 2, 1], "abc")
    judge = Judge(table, Split(np.array([0, 1]), np.array([2, 3]), np.array([4, 5])))
    assert judge.baseline.tolist() == [[0.75, 0.25, 0.0]] * 2
    scores = judge.score(judge.baseline)
    assert scores.values["accuracy"] == 0
    assert scores.values["balanced_accuracy"] == 0


def test_the_baseline_of_a_regression_is_the_mean_of_what_is_known():
    table = make_table("regression", [1, 2, 6, 100, 5])
    judge = Judge(table, Split(np.array([0, 1]), np.array([2]), np.array([3, 4])))
    assert judge.baseline.tolist() == [3, 3]
    assert judge.score(judge.baseline).values["mae"] == (97 + 2) / 2
    assert judge.score(np.array([100.0, 5.0])).values == {"rmse": 0, "mae": 0, "r2": 1}


def test_the_baseline_and_the_scale_do_not_depend_on_a_validation_part():
    time = np.arange(48)
    table = make_table(
        "forecasting",
        np.sin(time) + time,
        time=time,
        season=4,
        split=SplitRule(rule="time", column="t"),
    )
    judges = [Judge(table, split_rows(table, 0, 0, validation=part)) for part in (True, False)]
    assert judges[0].baseline.tolist() == judges[1].baseline.tolist()
    scores = [judge.score(judge.baseline) for judge in judges]
    assert scores[0] == scores[1]
    assert scores[0].values["mase"] > 1


def test_the_baseline_never_sees_the_test_rows():
    rng = np.random.default_rng(0)
    for task, target, classes in (
        ("classification", rng.integers(0, 3, 40), "abc"),
        ("regression", rng.normal(size=40), ()),
    ):
        table = make_table(task, target, classes)
        split = split_rows(table, 0, 0)
        poisoned = np.array(table.target)
        poisoned[split.test] = 2 if classes else 1e9
        other = make_table(task, poisoned, classes)
        expected = Judge(table, split).baseline
        assert Judge(other, split).baseline.tobytes() == expected.tobytes()


@pytest.mark.parametrize("horizon", [1, 6])
def test_a_naive_forecast_never_sees_what_is_not_known_at_its_horizon(horizon):
    rng = np.random.default_rng(0)
    rule = {"season": 4, "horizon": horizon, "split": SplitRule(rule="time", column="t")}
    time, target = np.arange(40), rng.normal(size=40)
    table = make_table("forecasting", target, time=time, **rule)
    split = split_rows(table, 0, 0)
    expected = Judge(table, split).baseline
    for position, row in enumerate(split.test):
        poisoned = np.where(time > time[row] - horizon, 1e9, target)
        other = make_table("forecasting", poisoned, time=time, **rule)
        assert Judge(other, split).baseline[position] == expected[position]


def test_a_forecasting_table_without_time_is_refused():
    table = make_table("forecasting", [1, 2, 3])
    with pytest.raises(DataInvalid, match="needs a time for each row"):
        Judge(table, Split(np.array([0]), np.array([1]), np.array([2])))
