"""Hold our scikit-learn estimators to scikit-learn's own checks, and use them as users do."""

import pickle

import numpy as np
import pytest

pytestmark = pytest.mark.contract

LEARNERS = [("sklearn", "linear"), ("pytorch", "mlp"), ("tensorflow", "mlp"), ("jax", "mlp")]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(160, 3))
    return features, np.where(features[:, 0] + features[:, 1] > 0, "up", "down")


def make(framework, algorithm, **params):
    from ml.estimators import MatrixClassifier

    chosen = {"epochs": 5} | params if framework != "sklearn" else params
    return MatrixClassifier(framework, algorithm, params=chosen, random_state=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["MatrixClassifier", "MatrixRegressor"])
@pytest.mark.parametrize(("framework", "algorithm"), LEARNERS)
def test_every_check_of_scikit_learn_passes(framework, algorithm, kind, monkeypatch):
    from sklearn.utils.estimator_checks import check_estimator

    import ml.estimators

    # Without it scikit-learn leaves its check of array inputs out.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    # A third of the epochs is enough for what the checks want to see learned.
    params = None if framework == "sklearn" else {"epochs": 33}
    estimator = getattr(ml.estimators, kind)(framework, algorithm, params)
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    bad = [(r["check_name"], r["status"], r["exception"]) for r in results]
    assert [entry for entry in bad if entry[1] != "passed"] == []
    assert len(results) > 45


@pytest.mark.parametrize(("framework", "algorithm"), LEARNERS)
def test_a_pickle_holds_arrays_and_gives_equal_predictions(framework, algorithm, data):
    features, labels = data
    fitted = make(framework, algorithm).fit(features, labels)
    content = pickle.dumps(fitted)
    assert b"torch" not in content.replace(b"pytorch", b"")
    assert b"tensorflow." not in content
    loaded = pickle.loads(content)
    assert loaded.predict_proba(features).tobytes() == fitted.predict_proba(features).tobytes()
    assert loaded.get_params() == fitted.get_params()


@pytest.mark.parametrize(("framework", "algorithm"), LEARNERS)
def test_equal_random_states_give_equal_models_and_labels_come_back(framework, algorithm, data):
    features, labels = data
    first, second = (make(framework, algorithm).fit(features, labels) for _ in range(2))
    assert first.predict_proba(features).tobytes() == second.predict_proba(features).tobytes()
    assert set(first.predict(features)) == {"up", "down"}
    assert first.score(features, labels) > 0.9


def test_a_grid_search_over_a_pipeline_finds_the_better_params(data):
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = data
    pipeline = make_pipeline(StandardScaler(), make("pytorch", "mlp"))
    grid = {"matrixclassifier__params": [{"epochs": 1, "hidden": [2]}, {"epochs": 20}]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(features, labels)
    assert search.best_params_ == {"matrixclassifier__params": {"epochs": 20}}
    assert cross_val_score(search.best_estimator_, features, labels, cv=3).min() > 0.85


def test_a_wrong_param_is_named_with_the_choices(data):
    from ml.core.errors import RequestInvalid

    with pytest.raises(RequestInvalid, match=r"expected the fields of NetworkSpec: activation,"):
        make("pytorch", "mlp", epoch=3).fit(*data)
    with pytest.raises(RequestInvalid, match="knows no 'fores'"):
        make("sklearn", "fores").fit(*data)
    with pytest.raises(RequestInvalid, match="no such framework"):
        make("pytorsh", "mlp").fit(*data)
