"""Let pytest append the Markdown summary to a file, and to GitHub's."""

import pytest

pytestmark = pytest.mark.contract


@pytest.fixture
def project(pytester):
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    pytester.makeconftest("import sys\nsys.modules['torch'] = None")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.smoke
        @pytest.mark.matrix(dataset="wine", algorithm="mlp", framework="pytorch")
        def test_wine(cell):
            cell.run()
        """
    )
    return pytester


def test_a_run_appends_its_summary_and_the_next_one_its_changes(project, monkeypatch):
    own, step = project.path / "own.md", project.path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    first = project.runpytest_subprocess("--matrix-summary=own.md")
    first.assert_outcomes(skipped=1)
    assert first.ret == pytest.ExitCode.OK
    text = own.read_text()
    assert step.read_text() == text
    assert text.startswith("## Matrix: No cell failed\n")
    assert "| 1 | 0 | 0 | 0 | 1 |" in text
    assert text.endswith("There is no earlier run.\n\nReport: reports/index.html\n")
    [folder] = project.path.glob("reports/runs/*")
    folder.rename(folder.with_name("20250101-000000-aaaaaa"))
    # A file that cannot be written is told, and costs neither the other nor the session.
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "missing" / "step.md"))
    second = project.runpytest_subprocess("--matrix-summary=own.md")
    assert second.ret == pytest.ExitCode.OK
    second.stdout.fnmatch_lines(["report: *", "no summary: *missing/step.md*"])
    later = own.read_text().removeprefix(text)
    assert "Against the run 20250101-000000-aaaaaa of" in later
    assert " none.\n" in later


def test_a_file_in_no_folder_is_a_usage_error(project):
    result = project.runpytest_inprocess("--matrix-summary=missing/own.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--matrix-summary:*no folder*missing; name a file*"])
