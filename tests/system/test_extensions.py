"""Extend the matrix from a project of its own: hooks, and what they may get wrong."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).parents[2] / "examples" / "your_project"

OPTIONS = ("-q", "--matrix-rows", "200", "--matrix-replicates", "1")
MODELS = '''
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

class Nearest(ClassifierMixin, BaseEstimator):
    def __init__(self, sharpness=1.0, wanted=()):
        self.sharpness, self.wanted = sharpness, wanted
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == c].mean(axis=0) for c in self.classes_])
        return self
    def predict_proba(self, X):
        far = ((X[:, None] - self.means_) ** 2).sum(axis=2)
        near = np.exp(-self.sharpness * (far - far.min(axis=1, keepdims=True)))
        return near / near.sum(axis=1, keepdims=True)
    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

def make_pipe(C=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C))

READY = LogisticRegression(C=0.5)

class Raises(Nearest):
    def fit(self, X, y):
        raise LookupError("no such thing as a fit")

class Fifty:
    """A learner of the protocol that says fifty-fifty, whatever it is given."""
    def __init__(self, problem, rows=0):
        self.classes, self.rows = problem.classes, rows
    def fit(self, train, validation, draws, seconds):
        from ml.core.learner import FitReport
        self.rows += train.rows
        return FitReport(warnings=("it learns nothing",))
    def predict(self, features):
        return np.full((len(features), self.classes), 1 / self.classes)
    def trace(self, train, draws):
        return None
    def parameters(self):
        return self.rows
    def serialize(self):
        return b"fifty"
    def restore(self, content):
        assert content == b"fifty"

def make_orders():
    draw = np.random.default_rng(0)
    days = pd.date_range("2026", periods=120)
    frame = pd.DataFrame({"price": draw.normal(size=120), "day": days})
    frame["kind"] = np.where(frame.price > 0, "dear", "cheap")
    frame["price"] += draw.normal(size=120) / 2
    frame.loc[3, "price"] = np.nan
    return frame
'''
CONFTEST = """
from dataclasses import replace
import models
from harness.declare import algorithm, dataset, gate

def pytest_matrix_datasets(config):
    return [dataset("orders", models.make_orders, task="classification", target="kind")]

def pytest_matrix_algorithms():
    binary = {"tasks": ["classification"]}
    return [
        algorithm("nearest", models.Nearest(sharpness=0.5), **binary),
        algorithm("pipe", "models:make_pipe", params={"C": 2.0}, **binary),
        algorithm("ready", "models:READY", **binary),
        algorithm("raises", models.Raises, **binary),
        algorithm("misspelt", "models:Neerest", **binary),
        algorithm("fifty", models.Fifty, framework="pytorch", learner=True, params={"rows": 1},
                  expected_failures={"beats_baseline": "it knows nothing at all"}, **binary),
    ]

def pytest_matrix_cells(cells):
    cells[:] = [replace(c, timeout=77.0) for c in reversed(cells) if c.algorithm != "svm"]

def pytest_matrix_gates():
    return [
        gate("few_parameters", "the model is small", lambda cell, result, score: (
            result.parameters < 1000, f"{result.parameters} parameters")),
        gate("picky", "never fails, but may raise", picky),
        gate("rare", "is for what there is not", lambda cell, result, score: None),
    ]

def picky(cell, result, score):
    return cell.algorithm != "ready" or 1 / 0

def pytest_matrix_record(record):
    with open("seen.txt", "a") as seen:
        print(record.cell, file=seen)
"""
SHARED = """
from harness.declare import gate

def pytest_matrix_gates():
    return [gate("shared", "it is a result", lambda cell, result, score: result.status == "ok")]
"""
TESTS = """
import pytest

@pytest.mark.smoke
@pytest.mark.matrix(
    dataset="orders",
    algorithm=["nearest", "pipe", "ready", "raises", "misspelt", "fifty", "svm"],
)
def test_orders(cell):
    cell.run()
"""


def make_project(pytester, conftest=CONFTEST, tests=TESTS):
    pytester.makepyfile(models=MODELS, test_orders=tests)
    pytester.makeconftest(conftest)


def read_records(pytester):
    [journal] = pytester.path.glob("reports/runs/*/records.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return {line["algorithm"]: line for line in lines if line["kind"] == "record"}


def test_a_project_adds_datasets_algorithms_and_gates_arranges_cells_and_sees_records(pytester):
    make_project(pytester)
    listed = pytester.runpytest_subprocess(*OPTIONS, "--matrix-list")
    listed.stdout.fnmatch_lines(["*1 cell: left out by pytest_matrix_cells"])
    # As an installed package's entry point does, -p names a plugin.
    pytester.makepyfile(shared_gates=SHARED)
    result = pytester.runpytest_subprocess(*OPTIONS, "-p", "shared_gates")
    result.assert_outcomes(passed=2, failed=3, xfailed=1)
    records = read_records(pytester)
    # In the order of the hook, which has left one out and given the others more time.
    assert list(records) == ["fifty", "misspelt", "raises", "ready", "pipe", "nearest"]
    assert {record["limit_seconds"] for record in records.values()} == {77.0}
    seen = (pytester.path / "seen.txt").read_text().split()
    assert seen == [record["cell"] for record in records.values()]

    nearest, fifty = records["nearest"], records["fifty"]
    assert nearest["cell"] == "orders-nearest-sklearn-train"
    assert nearest["request"]["model"] == {
        "kind": "imported",
        "target": "models:Nearest",
        "role": "estimator",
        "params": {"sharpness": 0.5},
    }
    assert nearest["score"]["value"] > 0.8
    data = nearest["result"]["data"]
    assert (data["sample"]["rows_total"], data["numeric"], data["categorical"]) == (120, 1, 1)
    assert data["classes"] == ["cheap", "dear"]
    assert fifty["score"]["value"] == 0.5
    assert fifty["framework"] == "pytorch"
    # The class was told its parameter, and counted the rows that it was given.
    assert fifty["result"]["parameters"] == 1 + fifty["result"]["replicates"][0]["train_rows"]
    assert "it learns nothing" in fifty["result"]["warnings"]

    verdicts = {v["gate"]: v for v in nearest["verdicts"]}
    assert verdicts["few_parameters"]["text"] == "0 parameters"
    assert verdicts["picky"] == {
        "gate": "picky",
        "status": "pass",
        "text": "never fails, but may raise",
        "expected": None,
    }
    assert verdicts["rare"]["status"] == "not_applicable"
    assert verdicts["shared"]["text"] == "it is a result"
    picky = next(v for v in records["ready"]["verdicts"] if v["gate"] == "picky")
    assert picky["status"] == "fail"
    assert "the gate raised ZeroDivisionError" in picky["text"]
    assert "conftest.py:" in picky["text"]
    assert records["ready"]["reason"].startswith("picky: the gate raised")

    raises, misspelt = records["raises"], records["misspelt"]
    assert (raises["outcome"], raises["error"]["code"]) == ("error", "unexpected_exception")
    assert "LookupError: no such thing as a fit" in raises["reason"]
    assert 'raise LookupError("no such thing' in raises["error"]["detail"]
    assert misspelt["error"]["code"] == "import_failed"
    assert "models has no Neerest" in misspelt["reason"]
    assert "Nearest" in misspelt["error"]["expected"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return ['nowhere']", "pytest_matrix_datasets names *nowhere, which is not there"),
        (
            "return [3]",
            "pytest_matrix_datasets returns a list of Dataset or Path or str, received 3",
        ),
        (
            "return 1 / 0",
            "pytest_matrix_datasets: ZeroDivisionError('division by zero') (*conftest.py:4)",
        ),
        (
            "return [dataset('wine', 'models:make_orders', task='regression', target='price')]",
            "dataset id 'wine' in models:make_orders is already taken by *wine.toml",
        ),
        (
            "return [dataset('Orders', 'm:f', task='regression', target='price')]",
            "pytest_matrix_datasets: dataset 'Orders': id: String should match pattern*",
        ),
        (
            "return [dataset('orders', lambda: 1, task='regression', target='price')]",
            "*a worker cannot import *lambda* by its name; put a class or function at the top*",
        ),
    ],
)
def test_a_hook_that_is_wrong_is_named_with_its_conftest(pytester, body, message):
    make_project(
        pytester,
        "from harness.declare import dataset\n"
        f"def pytest_matrix_datasets():\n    x = 1\n    {body}\n",
    )
    result = pytester.runpytest_subprocess("-q", "--collect-only")
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"*{message}*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    "given", ["'here/deliveries.toml'", "['here']", "pathlib.Path('here', 'deliveries.toml')"]
)
def test_a_hook_may_name_a_descriptor_or_a_folder_of_them(pytester, given):
    shutil.copytree(EXAMPLE / "data", pytester.path / "here")
    pytester.makeconftest(f"import pathlib\ndef pytest_matrix_datasets():\n    return {given}\n")
    pytester.makepyfile("""
        import pytest

        @pytest.mark.smoke
        @pytest.mark.matrix(dataset="deliveries", algorithm="dummy")
        def test_deliveries(cell):
            assert cell.run().result.data.sample.rows == 200
    """)
    done = pytester.runpytest_subprocess(*OPTIONS)
    done.assert_outcomes(passed=1)


def test_a_conftest_whose_hooks_are_read_too_late_is_refused(pytester):
    pytester.makepyfile(
        **{
            "test_first": TESTS.replace("orders", "wine"),
            "z/deep/conftest": "def pytest_matrix_gates():\n    return []\n",
            "z/deep/test_z": "def test_z(): pass\n",
        }
    )
    make_project(pytester)
    result = pytester.runpytest_subprocess("-q", "--collect-only")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*z/deep/conftest.py: pytest_matrix_gates comes too late*"])
    assert "Traceback" not in result.stdout.str()


HELPED = """
import pytest

@pytest.mark.smoke
@pytest.mark.matrix(dataset="wine", algorithm=["helped", "linear"], framework="sklearn")
def test_wine(cell):
    cell.run()
"""


def test_a_record_is_reused_until_a_helper_of_the_project_changes(pytester):
    pytester.makepyfile(
        helper="STRENGTH = 1.0\n",
        models="""
        from sklearn.linear_model import LogisticRegression
        from helper import STRENGTH

        class Helped(LogisticRegression):
            def fit(self, X, y):
                self.C = STRENGTH
                return super().fit(X, y)
        """,
        test_helped=HELPED,
    )
    pytester.makeconftest(
        """
        from harness.declare import algorithm

        def pytest_matrix_algorithms():
            return [algorithm("helped", "models:Helped", tasks=["classification"])]
        """
    )

    def run():
        pytester.runpytest_subprocess(*OPTIONS, "--matrix-reuse").assert_outcomes(passed=2)
        newest = max(pytester.path.glob("reports/runs/*/records.jsonl"), key=os.path.getmtime)
        lines = [json.loads(line) for line in newest.read_text().splitlines()]
        return {one["algorithm"]: one for one in lines if one["kind"] == "record"}

    first, again = run(), run()
    origin = first["helped"]["run"]
    assert {name: record["reused"] for name, record in first.items()} == dict.fromkeys(first)
    assert {name: record["reused"] for name, record in again.items()} == dict.fromkeys(
        first, origin
    )
    assert again["helped"]["result"] == first["helped"]["result"]
    (pytester.path / "helper.py").write_text("STRENGTH = 0.001\n")
    why = pytester.runpython_c(
        "from harness.cli import main; main(['why', 'wine-helped-sklearn-train'])"
    )
    why.stdout.fnmatch_lines(
        ["*1 of * parts changed:", f"*module helper: {pytester.path}/helper.py"]
    )
    changed = run()
    assert (changed["helped"]["reused"], changed["linear"]["reused"]) == (None, origin)
    assert changed["helped"]["score"] != first["helped"]["score"]
