"""Import what a request names: only where the process was started for a project, and in words."""

import sys

import pytest

from ml.core.contracts import FunctionData, ImportedSpec
from ml.core.errors import MatrixError
from ml.core.imported import PROJECT, call_target, import_target, make_learner
from ml.core.learner import Problem
from ml.datasets.load import table_from_values

pytestmark = pytest.mark.unit


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "shop_models.py").write_text(
        "class Half:\n    def fit(self): pass\n    class Inner: pass\n"
        "LIMIT = 3\n"
        "def make(problem, rows=1): return Half()\n"
        "def fails(): raise KeyError('no key')\n"
        "def number(): return 7\n"
    )
    (tmp_path / "shop_broken.py").write_text("import shop_models\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(PROJECT, str(tmp_path))
    yield tmp_path
    for name in ("shop_models", "shop_broken"):
        sys.modules.pop(name, None)


def refusal(call, *given):
    with pytest.raises(MatrixError) as caught:
        call(*given)
    return caught.value


def test_a_process_that_was_started_for_no_project_imports_nothing(monkeypatch):
    monkeypatch.delenv(PROJECT, raising=False)
    problem = refusal(import_target, "os:system", "model.target")
    assert (problem.code, problem.field) == ("import_not_allowed", "model.target")
    assert PROJECT in problem.remedy
    data = FunctionData(id="d", task="regression", target="y", function="os:getcwd")
    assert refusal(table_from_values, data).code == "import_not_allowed"


def test_what_a_project_defines_is_found_by_its_name(project):
    assert import_target("shop_models:LIMIT", "f") == 3
    assert import_target("shop_models:Half.Inner", "f").__qualname__ == "Half.Inner"


@pytest.mark.parametrize(
    ("target", "message", "detail"),
    [
        ("shop_missing:Half", "cannot be imported: ModuleNotFoundError", "shop_missing"),
        ("shop_broken:Half", "cannot be imported: ZeroDivisionError", "1 / 0"),
        ("shop_models:Whole", "shop_models has no Whole", None),
    ],
)
def test_what_is_not_there_is_named_with_where_it_was_looked_for(project, target, message, detail):
    problem = refusal(import_target, target, "model.target")
    assert problem.code == "import_failed"
    assert message in problem.message
    if detail is None:
        assert problem.expected == "one of its names: Half, LIMIT, fails, make, number"
    else:
        assert detail in problem.detail
        assert str(project) in problem.remedy


def test_what_cannot_be_called_or_raises_is_told(project):
    assert refusal(call_target, 3, "shop_models:LIMIT", "f").code == "not_callable"
    problem = refusal(
        call_target, import_target("shop_models:fails", "f"), "shop_models:fails", "f"
    )
    assert problem.code == "target_raised"
    assert "KeyError: 'no key'" in problem.message
    assert "raise KeyError('no key')" in problem.detail


def test_a_learner_without_its_methods_and_a_function_without_a_table_are_refused(project):
    spec = ImportedSpec(target="shop_models:make", role="learner", params={"rows": 2})
    problem = refusal(make_learner, None, spec, Problem(2, 2))
    assert problem.code == "no_learner"
    assert "predict, trace, parameters, serialize, restore" in problem.message
    data = FunctionData(id="d", task="regression", target="y", function="shop_models:number")
    problem = refusal(table_from_values, data)
    assert (problem.code, problem.received) == ("no_table", "7")
