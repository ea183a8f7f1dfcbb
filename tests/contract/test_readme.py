"""Hold the README to the code: every name is found there, and its examples run."""

import re
from typing import get_args

import pytest

from harness.catalog.datasets import OWN_FOLDER
from harness.declare import algorithm
from harness.gates.judge import GATES
from harness.gates.parity import LIMITS
from harness.markers import FIELDS, TRACKS
from harness.runtime import KEYS, VARIABLES
from ml.core.contracts import DistillRequest, EstimatorSpec, NetworkSpec, Outcome, TeacherSpec
from ml.core.descriptor import read_descriptor

pytestmark = pytest.mark.contract


@pytest.fixture
def readme(request):
    return (request.config.rootpath / "README.md").read_text()


def examples(readme, language):
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_every_option_outcome_gate_track_and_marker_argument_is_documented(readme, pytestconfig):
    options = [
        name
        for option in pytestconfig._parser._groups
        if option.name == "matrix"
        for entry in option.options
        for name in entry.names()
    ]
    inis = [name for name in pytestconfig._parser._inidict if name.startswith("matrix_")]
    assert len(options) >= 7
    names = [
        *options,
        *inis,
        *get_args(Outcome),
        *GATES,
        *TRACKS,
        *(f"{name}=…" for name in FIELDS),
        *(f"| `{key}` |" for key in KEYS),
        *(VARIABLES + key.upper() for key in KEYS),
    ]
    assert [name for name in names if name not in readme] == []


def test_the_numbers_of_datasets_and_rows_are_those_of_the_descriptors(readme):
    rows = [read_descriptor(path).rows for path in OWN_FOLDER.glob("*.toml")]
    assert f"`ml/data/` has {len(rows)} real ones, from {min(rows)} to {max(rows):,} rows" in readme


def test_the_limits_of_parity_are_those_of_the_gate(readme):
    for name, limit in LIMITS.items():
        [line] = [text for text in readme.splitlines() if text[:1] == "|" and f"`{name}`" in text]
        assert line.endswith(f"| {limit:g} |")


def test_the_example_without_pytest_runs(readme, capsys):
    [example] = [text for text in examples(readme, "python") if "from ml.sklearn" in text]
    exec(compile(example, "README.md", "exec"), {})
    status, r2 = capsys.readouterr().out.split()
    assert status == "ok"
    assert float(r2) > 0.99


def test_the_example_of_a_checkpoint_runs_and_resumes(readme, capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    [example] = [text for text in examples(readme, "python") if '"checkpoint"' in text]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    first, again = capsys.readouterr().out.splitlines()
    assert first.startswith("first ")
    assert first.endswith(" epochs, resumed 0")
    epochs = first.split()[1]
    assert again == f"again {epochs} epochs, resumed {epochs}"
    kept = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [str(path) for path in kept] == ["kept/line/replicate-000.safetensors"]


def test_the_example_of_an_algorithm_is_one(readme):
    [example] = [text for text in examples(readme, "python") if "wide_mlp" in text]
    entry = eval(example, {"algorithm": algorithm, "NetworkSpec": NetworkSpec})
    assert (entry.id, entry.framework, entry.model.hidden) == ("wide_mlp", "pytorch", (256, 128))


def test_the_examples_of_a_project_are_those_of_the_example_project(readme, pytestconfig):
    folder = pytestconfig.rootpath / "examples" / "your_project" / "tests"
    shown = examples(readme, "python")
    assert (folder / "conftest.py").read_text() in shown
    tests = (folder / "test_prototypes.py").read_text()
    assert [text for text in shown if "parametrize_with_checks" in text and text in tests]


def test_the_example_of_a_student_is_one(readme):
    [example] = [text for text in examples(readme, "python") if "teachers=" in text]
    names = {kind.__name__: kind for kind in (algorithm, EstimatorSpec, NetworkSpec, TeacherSpec)}
    entry = eval(example, names)
    assert (entry.modes, entry.teachers[0].framework) == (("distill",), "sklearn")
    defaults = DistillRequest.model_fields
    assert f"`temperature` ({defaults['temperature'].default:g})" in readme
    assert f"`soft_share` ({defaults['soft_share'].default:g})" in readme


def test_the_example_of_a_test_runs_as_shown(readme, pytester):
    [example] = [text for text in examples(readme, "python") if "def test_class" in text]
    pytester.makepyfile(test_models=example)
    result = pytester.runpytest_subprocess("-m", "slow_matrix", "-k", "wine and mlp", "-v")
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])
    shown = [line for line in readme.splitlines() if "PASSED balanced_accuracy" in line]
    assert len(shown) == 2
    result.stdout.fnmatch_lines(
        [line.replace("[", "[[]").replace("…", "*") + "*" for line in shown]
    )
