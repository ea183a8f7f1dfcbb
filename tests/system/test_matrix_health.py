"""Let a project's own tests assert on their data."""

import json
import random
import re

import pytest

pytestmark = pytest.mark.system


def write_table(path, seed, city=None):
    # Not by pandas: pytester takes back what a test imports, and Arrow refuses a second import.
    draw = random.Random(seed)
    lines = ["size,price,city"]
    for _ in range(500):
        size = draw.gauss(0, 1)
        name = city or draw.choice(["Rome", "Oslo", "Bonn", "Lima"])
        lines.append(f"{size:.4f},{size + 0.5 * draw.gauss(0, 1):.4f},{name}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def project(pytester):
    write_table(pytester.path / "old.csv", 1)
    write_table(pytester.path / "same.csv", 2)
    write_table(pytester.path / "worse.csv", 3, city="Rome")
    return pytester


TESTS = """
import pandas as pd
import pytest

def test_worse(matrix_health):
    report = matrix_health("worse.csv", against="old.csv")
    assert report.verdict in ("healthy", "differs")

def test_mistake(matrix_health):
    matrix_health("gone.parquet", against="old.csv")

@pytest.mark.matrix_health(reference="old.csv", verdict="healthy")
class TestMarked:
    def test_same(self, matrix_health):
        report = matrix_health("same.csv")
        assert report.score > 90
        assert not report.losses

    def test_frame(self, matrix_health):
        frame = pd.read_csv("same.csv")
        report = matrix_health(frame, against=frame.copy(), seed=3)
        assert (report.seed, report.names) == (3, ("the test's reference", "the test's candidate"))

    def test_fails(self, matrix_health):
        matrix_health("worse.csv")

    def test_own_verdict(self, matrix_health):
        matrix_health("worse.csv", verdict=["collapsed", "differs"])
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_project_asserts_on_its_data_and_is_told_what_changed(project, processes):
    project.makepyfile(test_data=TESTS)
    (project.path / "deep").mkdir()
    result = project.runpytest_subprocess("-n", processes)
    result.assert_outcomes(passed=3, failed=3)
    text = result.stdout.str()
    assert "assert data health: collapsed, score " in text
    assert "expected differs or healthy" in text
    assert re.search(r"E +diversity \d+, a loss: city \(\w", text)
    assert "MatrixError: there is no table gone.parquet" in text
    # The frames of ours are not shown.
    assert "checking.py" not in text
    assert re.search(r"^data health: collapsed, .*; expected healthy$", text, re.MULTILINE)
    assert text.count("Captured data health call") == 2
    assert "= data health =" in text
    assert "report: reports/health.html" in text
    kept = sorted((project.path / "reports" / "health").glob("*.json"))
    assert len(kept) == 5
    assert all(path.with_suffix(".html").exists() for path in kept)
    found = [json.loads(path.read_text()) for path in kept]
    assert {one["test"] for one in found} == {
        "test_data.py::test_worse",
        *(
            f"test_data.py::TestMarked::test_{name}"
            for name in ("same", "frame", "fails", "own_verdict")
        ),
    }
    expected = {one["test"].rpartition("::")[2]: one["expected"] for one in found}
    assert expected["test_worse"] == []
    assert expected["test_same"] == ["healthy"]
    page = (project.path / "reports" / "health.html").read_text()
    assert page.count("not as expected") == 1


def test_a_wrong_marker_and_a_marker_unheard_are_told(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.matrix_health(verdict="helthy")
        def test_wrong(matrix_health):
            pass
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no verdict 'helthy' (did you mean 'healthy'?)*"])
    project.makepyfile(
        """
        import pytest

        @pytest.mark.matrix_health(reference="old.csv")
        def test_unheard():
            pass
        """
    )
    result = project.runpytest_inprocess("--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*have the matrix_health marker but do not ask for*"])


def test_a_marker_is_taken_from_the_root_folder_and_a_call_from_where_one_stands(project):
    project.makepyfile(
        **{
            "deep/test_deep": """
            import pytest

            @pytest.mark.matrix_health(candidate="same.csv", reference="old.csv")
            def test_marked(matrix_health, monkeypatch, tmp_path):
                monkeypatch.chdir(tmp_path)
                assert matrix_health().verdict == "healthy"
                (tmp_path / "same.csv").write_text("size\\n1\\n")
                assert matrix_health("same.csv").verdict != "healthy"

            def test_nothing(matrix_health):
                with pytest.raises(Exception, match="was given no reference; give it as against"):
                    matrix_health("same.csv")
            """
        }
    )
    (project.path / "pytest.ini").write_text("[pytest]\n")
    result = project.runpytest_subprocess("-q")
    result.assert_outcomes(passed=2)


def test_no_page_costs_no_session(project):
    project.makepyfile(
        """
        import sys

        def test_same(matrix_health):
            sys.modules["jinja2"] = None
            assert matrix_health("same.csv", against="old.csv").verdict == "healthy"
        """
    )
    result = project.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["no pages of data health: jinja2 is not installed*"])
    assert len(list((project.path / "reports" / "health").glob("*.json"))) == 1


def test_a_session_without_a_check_imports_nothing_for_it(pytester):
    pytester.makepyfile(
        """
        def test_plain(record_property):
            record_property("matrix", "of another")
        """
    )
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("imported:", [name for name in sys.modules if "health" in name])
        """
    )
    result = pytester.runpytest_subprocess("-q", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["imported: []"])
    assert not (pytester.path / "reports").exists()
