"""Hold the plugin to what it promises at collection: names, tracks, errors and no heavy import."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.contract

HEAVY = ("numpy", "pandas", "sklearn", "torch", "tensorflow", "jax", "jinja2")


def make_test(pytester, marker, track="slow_matrix"):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.{track}
        @pytest.mark.matrix({marker})
        def test_cells(cell):
            cell.run()
        """
    )


def collect(pytester, *arguments):
    return pytester.runpytest_inprocess("--collect-only", "-q", *arguments)


def test_ids_are_dataset_algorithm_framework_mode(pytester):
    make_test(pytester, 'dataset=["wine", "diabetes"], algorithm="mlp", mode="train"')
    lines = collect(pytester).stdout.lines
    found = [line.partition("[")[2].rstrip("]") for line in lines if "test_cells[" in line]
    assert found == [
        f"{dataset}-mlp-{framework}-train"
        for dataset in ("diabetes", "wine")
        for framework in ("sklearn", "pytorch", "tensorflow", "jax")
    ]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            'datset="wine"',
            "*knows no argument 'datset' (did you mean 'dataset'?); choose from task,*",
        ),
        ('dataset="wime"', "*there is no such dataset (did you mean 'wine'?); choose from ames,*"),
        ('framework="torch"', "*no such framework*choose from sklearn, pytorch, tensorflow, jax*"),
        ('task="clasification"', "*did you mean 'classification'?*"),
        (
            'mode="swep"',
            "*no such mode (did you mean 'sweep'?); choose from train, sweep, distill*",
        ),
        ('algorithm=["mlp", "mpl"]', "*no such algorithm (did you mean 'mlp'?)*"),
        ("algorithm=3", "*takes a name or a list of names, received 3*"),
        ("dataset=[]", "*matches nothing; leave the argument out*"),
        ('"wine"', "*takes no positional arguments, received ('wine',)*"),
        ('dataset="wine", task="regression"', "*matches no cell*widen the marker's arguments*"),
    ],
)
def test_a_wrong_marker_is_an_error_that_names_the_choices(pytester, marker, message):
    make_test(pytester, marker)
    result = collect(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_marker_without_cell_and_a_cell_without_marker_are_errors(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.unit
        @pytest.mark.matrix(dataset="wine")
        def test_without_cell():
            pass
        """
    )
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*has the matrix marker but does not ask for `cell`*"])
    pytester.makepyfile("def test_without_marker(cell): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*`cell` needs @pytest.mark.matrix(*"])


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
@pytest.mark.parametrize("decorators", ["", "@pytest.mark.unit\n@pytest.mark.perf\n"])
def test_a_test_without_exactly_one_track_is_an_error(pytester, decorators, arguments):
    pytester.makeini("[pytest]\nmatrix_strict_tracks = true\n")
    pytester.makepyfile(f"import pytest\n\n{decorators}def test_lost(): pass")
    run = pytester.runpytest_subprocess if arguments else pytester.runpytest_inprocess
    result = run("-m", "unit", *arguments)
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)
    result.assert_outcomes(errors=1)
    output = result.stdout.str()
    found = "unit and perf" if decorators else "none"
    assert "every test needs exactly one track marker of unit, contract, smoke" in output
    assert f"::test_lost: {found}" in output


def test_a_matrix_test_needs_a_track_and_other_tests_do_not(pytester):
    pytester.makepyfile(
        """
        import pytest

        def test_ordinary():
            pass

        @pytest.mark.matrix(dataset="wine")
        def test_cells(cell):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-k", "ordinary")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*test_cells[[]wine-dummy-sklearn-train]: none*"])
    pytester.makepyfile("def test_ordinary(): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    assert not (pytester.path / "reports").exists()


def test_tracks_run_in_their_order(pytester):
    pytester.makepyfile(
        "import pytest\n\n"
        + "\n".join(
            f"@pytest.mark.{track}\ndef test_{track}(): pass"
            for track in ("perf", "slow_matrix", "smoke", "contract", "unit")
        )
    )
    lines = [line for line in collect(pytester).stdout.lines if "::" in line]
    assert [line.rpartition("test_")[2] for line in lines] == [
        "unit",
        "contract",
        "smoke",
        "slow_matrix",
        "perf",
    ]


def test_a_missing_framework_is_a_skip_with_the_pip_line_or_a_failure(pytester):
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    pytester.makeconftest("import sys\nsys.modules['torch'] = sys.modules['jax'] = None")
    make_test(pytester, 'dataset="wine", algorithm="mlp", framework=["pytorch", "jax"]')
    result = pytester.runpytest_subprocess("-rs", "--matrix-require", "pytorch,tensorflow")
    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*pytorch is required, but the module 'torch'*pip install*",
            "SKIPPED*'jax' is not installed; run: pip install 'pytest-mlmatrix[[]jax]'",
        ]
    )
    [path] = pytester.path.glob("reports/runs/*/records.jsonl")
    lines = map(json.loads, path.read_text().splitlines())
    outcomes = {line["cell"]: line["outcome"] for line in lines if line["kind"] == "record"}
    assert outcomes == dict.fromkeys(
        ("wine-mlp-pytorch-train", "wine-mlp-jax-train"), "unavailable"
    )


def test_a_missing_framework_of_a_teacher_is_named_as_such(pytester):
    pytester.makeconftest("import sys\nsys.modules['sklearn'] = None")
    make_test(pytester, 'dataset="wine", algorithm="student", framework="pytorch"')
    result = pytester.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*sklearn is not available*'sklearn' is not installed*"])
    result = pytester.runpytest_subprocess("--matrix-require", "sklearn")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*sklearn is required, but the module 'sklearn'*pip install*"])


def test_a_broken_descriptor_is_one_failing_case_and_the_others_run(pytester):
    make_test(pytester, 'dataset="wine", algorithm="dummy"')
    folder = pytester.mkdir("tables")
    (folder / "broken.toml").write_text('id = "broken"\ntask = "guessing"\n')
    result = pytester.runpytest_subprocess("--matrix-data", "tables")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*broken.toml*task*guessing*mend*"])


def test_a_broken_descriptor_that_a_marker_names_tells_its_own_reason(pytester):
    make_test(pytester, 'dataset="broken"')
    (pytester.mkdir("tables") / "broken.toml").write_text('id = "broken"\ntask = "guessing"\n')
    result = pytester.runpytest_inprocess("--matrix-data", "tables")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*broken.toml*task*guessing*mend*"])
    result.stdout.no_fnmatch_line("*no such dataset*")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--matrix-replicates=0"],
            "*matrix_replicates: expected a whole number of at least 1*'0'*",
        ),
        (["--matrix-rows=many"], "*matrix_rows: expected a whole number of at least 2*'many'*"),
        (["--matrix-trials=0"], "*matrix_trials: expected a whole number from 1 to 10000*'0'*"),
        (["--matrix-sampler=bayes"], "*matrix_sampler: expected one of random, grid, tpe*'bayes'*"),
        (["--matrix-pruner=wilcoxon"], "*expected --matrix-folds of at least 3, received 1*"),
        (
            ["--matrix-sweep-seconds=300"],
            "*matrix_sweep_seconds: *expected less than --matrix-timeout (300), received 300*",
        ),
        (["--matrix-timeout=nan"], "*matrix_timeout: expected a number*'nan'*"),
        (["--matrix-data=nowhere"], "*nowhere is not a folder*"),
        (["--matrix-require=torch"], "*there is no framework 'torch'*choose from sklearn,*"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_names_it(pytester, arguments, message):
    make_test(pytester, 'dataset="wine"')
    result = collect(pytester, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def run_pytest(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def heavy_modules_after(pytester, *arguments):
    """Run pytest in a fresh process and return which heavy modules it had imported."""
    pytester.makeconftest(
        f"""
        import sys

        def pytest_unconfigure(config):
            print("heavy:", sorted(set({HEAVY!r}) & set(sys.modules)))
        """
    )
    done = run_pytest(pytester.path, "-s", *arguments)
    [line] = [text for text in done.stdout.splitlines() if text.startswith("heavy:")]
    return done, line


def test_collecting_the_matrix_imports_no_framework(pytester):
    make_test(pytester, 'mode="train"')
    done, line = heavy_modules_after(pytester, "--collect-only", "-m", "slow_matrix", "-q")
    assert "test_cells[wine-mlp-tensorflow-train]" in done.stdout
    assert line == "heavy: []"


def test_collecting_our_own_matrix_imports_no_framework(pytester, request):
    """Watch from a plugin of its own, since the project's conftest is not ours to write."""
    pytester.makepyfile(
        watch=f"""
        import sys

        def pytest_unconfigure(config):
            print("heavy:", sorted(set({HEAVY[1:]!r}) & set(sys.modules)))
        """
    )
    done = run_pytest(
        request.config.rootpath,
        *("--collect-only", "-m", "slow_matrix", "-q", "-s", "-p", "watch"),
        f"--override-ini=pythonpath=tests {pytester.path}",
    )
    assert "test_classification[wine-mlp-tensorflow-train]" in done.stdout
    [line] = [text for text in done.stdout.splitlines() if text.startswith("heavy:")]
    assert line == "heavy: []"


def test_an_unused_plugin_imports_nothing(pytester):
    pytester.makepyfile("def test_ordinary(): pass")
    done, line = heavy_modules_after(pytester)
    assert "1 passed" in done.stdout
    assert line == "heavy: []"
