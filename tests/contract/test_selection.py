"""Select cells by marker and by pattern, and list what would run, through pytest itself."""

from typing import get_args

import pytest

from harness.catalog.frameworks import FRAMEWORKS
from harness.markers import CELL_MARKS
from ml.core.contracts import Mode, Task

pytestmark = pytest.mark.contract


@pytest.fixture
def project(pytester):
    pytester.makepyfile(
        """
        import pytest

        def test_ordinary():
            pass

        @pytest.mark.slow_matrix
        @pytest.mark.matrix(dataset=["wine", "diabetes"], algorithm=["mlp", "gru", "student"])
        def test_cells(cell):
            raise AssertionError("it was run")
        """
    )
    return pytester


def collected(project, *arguments):
    result = project.runpytest_inprocess("--collect-only", "-q", *arguments)
    lines = [line.partition("::test_")[2] for line in result.stdout.lines if "::test_" in line]
    return [line.removeprefix("cells[").rstrip("]") for line in lines]


def test_a_case_carries_its_framework_task_and_mode_as_markers(project):
    assert collected(project, "-m", "slow_matrix and pytorch and distill") == [
        "diabetes-student-pytorch-distill",
        "wine-student-pytorch-distill",
    ]
    assert collected(project, "-m", "sklearn and classification") == ["wine-mlp-sklearn-train"]
    named = {*FRAMEWORKS, *get_args(Task), *get_args(Mode)}
    assert set(CELL_MARKS) == named


def test_patterns_select_and_tests_without_a_cell_stay(project):
    chosen = ("--matrix-framework=py*", "--matrix-framework=sklearn", "--matrix-dataset=w?ne")
    assert collected(project, *chosen, "--matrix-mode=train") == [
        "ordinary",
        "wine-mlp-sklearn-train",
        "wine-mlp-pytorch-train",
    ]
    result = project.runpytest_inprocess("--matrix-algorithm=student", "--matrix-dataset=scat")
    result.assert_outcomes(passed=1, deselected=14)


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
def test_a_pattern_without_a_match_names_the_choices(project, arguments):
    result = project.runpytest_inprocess("--matrix-framework=pytorhc", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--matrix-framework: 'pytorhc' matches no framework (did you mean 'pytorch'?*sklearn, *"]
    )


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
def test_a_list_runs_nothing_and_tells_what_was_left_out_and_why(project, arguments):
    folder = project.mkdir("tables")
    (folder / "broken.toml").write_text('id = "broken"\ntask = "guessing"\n')
    project.makeconftest("import sys\nsys.modules['jax'] = None")
    chosen = ("--matrix-list", "--matrix-dataset=wine", "--matrix-data=tables", "-k", "not student")
    result = project.runpytest_subprocess(*chosen, *arguments)
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"dataset +algorithm +framework +mode +task +tests",
            r"wine +mlp +sklearn +train +classification +1",
            r"wine +mlp +pytorch +train +classification +1",
            r"wine +mlp +tensorflow +train +classification +1",
            r"",
            r"3 cells",
            r"left out:",
            r"  10 cells: deselected by -k, -m or a --matrix option",
            r"  1 cell: jax is not available: the module 'jax' is not installed; run: pip .*",
            r"  descriptor .*broken\.toml: .*guessing.*",
            r"  gru on wine: it is made for forecasting",
        ],
        consecutive=True,
    )
    assert not (project.path / "reports").exists()


def test_a_folder_that_pytest_takes_for_its_root_is_refused_with_the_remedy(pytester, tmp_path):
    pytester.makeini("[pytest]")
    pytester.makepyfile("def test_one(): pass")
    elsewhere = tmp_path / "reports"
    elsewhere.mkdir()
    result = pytester.runpytest_subprocess("--matrix-reports", str(elsewhere))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*write it as one word: --matrix-reports={elsewhere}*"])
    joined = pytester.runpytest_subprocess(f"--matrix-reports={elsewhere}")
    joined.stdout.fnmatch_lines(["*configfile: tox.ini*"])
