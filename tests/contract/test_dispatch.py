"""Order cells by history, keep datasets together, and say how long it will take."""

import pytest
from report_fixture import record_of

from harness.options import count_cores
from harness.reporter import cells_in
from harness.store.environment import describe_run
from harness.store.journal import Journal
from ml.core.contracts import DescriptorData, EstimatorSpec, RuntimeSpec, TrainRequest

pytestmark = pytest.mark.contract

SECONDS = {
    "diabetes-dummy-sklearn-train": 1.0,
    "diabetes-linear-sklearn-train": 70.0,
    "diabetes-svm-sklearn-train": 20.0,
    "wine-dummy-sklearn-train": 2.0,
    "wine-linear-sklearn-train": 40.0,
    "wine-svm-sklearn-train": 60.0,
}
LONGEST_FIRST = sorted(SECONDS, key=lambda cell: -SECONDS[cell])
MATRIX = """
    import pytest

    @pytest.mark.slow_matrix
    @pytest.mark.matrix(
        dataset=["diabetes", "wine"], algorithm=["dummy", "linear", "svm"], framework="sklearn"
    )
    def test_cells(cell):
        pass

    @pytest.mark.slow_matrix
    def test_other():
        pass
"""


@pytest.fixture
def project(pytester):
    request = TrainRequest(
        data=DescriptorData(path="x.toml"), model=EstimatorSpec(estimator="linear")
    ).model_dump(mode="json")
    journal = Journal(
        pytester.path / "reports/runs/20260101-000000-aaaaaa",
        lambda name: describe_run(name, pytester.path, ("pytest",), RuntimeSpec()),
    )
    for cell, seconds in SECONDS.items():
        journal.append(record_of(cell, seconds=seconds, request=request))
    pytester.makepyfile(test_ordered=MATRIX)
    return pytester


def collected(project, *arguments):
    result = project.runpytest_inprocess("--collect-only", "-q", *arguments)
    names = [line for line in result.stdout.lines if "::test_" in line]
    return [(cells_in(name) or ["other"])[0] for name in names]


def test_the_longest_cells_come_first_and_other_tests_keep_their_places(project):
    assert collected(project) == [*LONGEST_FIRST, "other"]
    assert collected(project, "--matrix-reports=elsewhere") == [*SECONDS, "other"]


@pytest.mark.parametrize("when", ["tryfirst=True", "tryfirst=False", "trylast=True"])
def test_the_order_of_another_plugin_wins(project, when):
    project.makeconftest(
        f"""
        import pytest

        @pytest.hookimpl({when})
        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: item.nodeid, reverse=True)
        """
    )
    assert collected(project) == ["other", *sorted(SECONDS, reverse=True)]


@pytest.mark.parametrize(
    ("arguments", "together"),
    [
        (["-n2", "-m", "slow_matrix"], True),
        (["-n2", "-m", "smoke or slow_matrix and sklearn"], True),
        (["-n2", "-m", "not slow_matrix"], False),
        (["-n2"], False),
        (["-n2", "-m", "slow_matrix", "--dist=load"], False),
        (["-n2", "-m", "slow_matrix", "--dist=worksteal"], False),
        (["-n2", "--dist=loadgroup"], True),
        (["-n0", "-m", "slow_matrix"], False),
    ],
)
def test_datasets_stay_together_where_nothing_else_was_asked_for(pytester, arguments, together):
    pytester.makepyfile("def test_ordinary(): pass")
    pytester.makeconftest(
        """
        from harness.reporter import RUN

        def pytest_unconfigure(config):
            print("together:", config.stash[RUN]["together"])
        """
    )
    result = pytester.runpytest_inprocess("--collect-only", "-q", *arguments)
    result.stdout.fnmatch_lines([f"together: {together}"])


def test_xdist_gets_whole_datasets_the_longest_first_and_the_estimate_is_told(project):
    result = project.runpytest_subprocess("-n2", "-m", "slow_matrix", "-v")
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(
        ["matrix: about 2 min for 6 cells, by the records of 20260101-000000-aaaaaa"]
    )
    ran = {}
    for line in result.stdout.lines:
        worker, _, rest = line.partition("] ")
        if worker in ("[gw0", "[gw1") and cells_in(rest):
            ran.setdefault(worker, []).append(cells_in(rest)[0])
    assert sorted(ran.values()) == [
        [f"diabetes-{name}-sklearn-train" for name in ("linear", "svm", "dummy")],
        [f"wine-{name}-sklearn-train" for name in ("svm", "linear", "dummy")],
    ]
    # A run in which nothing was trained leaves nothing that counts for the next estimate.
    assert "::test_cells[wine-svm-sklearn-train]" in result.stdout.str()
    assert "@wine" not in result.stdout.str()


@pytest.mark.parametrize(
    ("threads", "processes"), [(None, 64), (1, 64), (2, None), (512, 1)], ids=str
)
def test_auto_starts_no_more_processes_than_the_cores_have_room_for(
    pytester, monkeypatch, threads, processes
):
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "64")
    pytester.makeconftest(
        """
        def pytest_unconfigure(config):
            print("processes:", config.option.numprocesses)
        """
    )
    given = () if threads is None else (f"--matrix-threads={threads}",)
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-n", "auto", *given)
    expected = processes or max(1, count_cores() // threads)
    result.stdout.fnmatch_lines([f"processes: {expected}"])
