"""Load what scikit-learn's learner writes, from the fixed list of types, and nothing else."""

import os

import numpy as np
import pytest

from ml.core.contracts import EstimatorSpec
from ml.core.errors import DataInvalid
from ml.core.learner import Problem

pytestmark = pytest.mark.contract

OPTIONS = [
    ("hist_gradient_boosting", {"loss": "absolute_error", "max_iter": 3}, 0),
    ("hist_gradient_boosting", {"loss": "gamma", "max_iter": 3}, 0),
    ("k_nearest_neighbors", {"metric": "chebyshev", "algorithm": "ball_tree"}, 3),
    ("k_nearest_neighbors", {"p": 1, "algorithm": "kd_tree"}, 2),
    ("k_nearest_neighbors", {"p": 3}, 0),
    ("mlp", {"solver": "sgd", "max_iter": 3}, 2),
    ("random_forest", {"criterion": "entropy", "n_estimators": 3}, 3),
    ("svm", {"kernel": "poly"}, 2),
]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(("estimator", "params", "classes"), OPTIONS)
def test_an_option_beyond_the_catalogs_loads_to_equal_predictions(estimator, params, classes):
    from ml.frameworks.sklearn.models import build_estimator
    from ml.frameworks.sklearn.serialization import dump_estimator, load_estimator

    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 3)).astype(np.float32)
    target = np.arange(90) % classes if classes else rng.random(90) + 0.1
    spec = EstimatorSpec(estimator=estimator, params=params)
    fitted = build_estimator(spec, Problem(3, classes), rng).fit(features, target)
    loaded = load_estimator(dump_estimator(fitted))
    assert loaded.predict(features).tobytes() == fitted.predict(features).tobytes()


def test_a_file_that_names_another_type_is_refused_before_it_is_built():
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    from ml.frameworks.sklearn.serialization import load_estimator

    hostile = skops.io.dumps(FunctionTransformer(os.system))
    with pytest.raises(DataInvalid, match="not on the list of trusted ones") as caught:
        load_estimator(hostile)
    assert caught.value.code == "artifact_untrusted"
    assert "system" in caught.value.received
