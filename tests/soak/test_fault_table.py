"""Break a cell of each framework in every way, amid its own training: the table of faults."""

import sys

import psutil
import pytest
from fault_kinds import FAULTS, SECONDS_OF_A_CHILD, Fault

from harness.catalog.frameworks import FRAMEWORKS
from harness.execute import process
from harness.execute.local import LocalExecutor
from ml.core.contracts import EstimatorSpec, InlineData, NetworkSpec, TrainRequest, TrainResult

pytestmark = pytest.mark.soak

LINE = tuple(row / 8 for row in range(48))
DATA = InlineData(
    task="regression", target="y", columns={"x": LINE, "y": tuple(2 * x - 1 for x in LINE)}
)
LIMIT = 1500
MORE = {
    "loss not finite": Fault(None, "diverged", "loss_not_finite", "loss became"),
    "full disk, artifact": Fault(None, "error", "artifact_not_written", "File too large"),
}


def make_request(framework, name="reference", folder=None):
    diverges = name == "loss not finite"
    if framework == "sklearn":
        params = {"learning_rate_init": 1e300 if diverges else 1e-3, "max_iter": 20}
        model = EstimatorSpec(estimator="mlp", params=params)
    else:
        optimizer = {"name": "sgd", "learning_rate": 1e30 if diverges else 1e-3}
        model = NetworkSpec(architecture="mlp", epochs=3, optimizer=optimizer)
    full = str(folder) if name == "full disk, artifact" else None
    return TrainRequest(id=name, data=DATA, model=model, replicates=1, artifact_dir=full)


def metrics_of(response):
    assert isinstance(response, TrainResult), response.error
    return response.replicates[0].metrics, response.replicates[0].history


def left_running():
    return [
        found.pid
        for found in psutil.process_iter(["cmdline"])
        if SECONDS_OF_A_CHILD in (found.info["cmdline"] or ())
    ]


@pytest.fixture(scope="module")
def executors(tmp_path_factory):
    made = {}

    def make(framework):
        if framework not in made:
            logs = tmp_path_factory.mktemp(framework)
            executor = LocalExecutor(logs, worker_module="framework_worker", memory_limit=LIMIT)
            response = executor.send(framework, "train", make_request(framework), 120).response
            made[framework] = executor, logs, metrics_of(response)
        return made[framework]

    yield make
    for executor, *_ in made.values():
        executor.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", [*FAULTS, *MORE])
def test_every_fault(executors, tmp_path, record_property, framework, name):
    missing = FRAMEWORKS[framework].missing
    if missing:
        pytest.skip(missing)
    if name == "full disk" and sys.platform != "linux":
        pytest.skip("there is no /dev/full")
    executor, logs, reference = executors(framework)
    fault = {**FAULTS, **MORE}[name]
    seconds = 2.0 if fault.outcome == "timeout" else 60.0
    request = make_request(framework, name, tmp_path / "artifact")
    response = executor.send(framework, "train", request, seconds).response
    if isinstance(response, TrainResult):
        found, told = ("ok", ""), ""
        record_property("fault", (name, framework, "ok"))
        assert metrics_of(response) == reference
        left = [text for text in response.warnings if text.startswith("left running")]
        assert bool(left) == (name == "child left")
    else:
        found, told = (response.outcome, response.error.code), response.error.message
        record_property("fault", (name, framework, f"{response.outcome}: {found[1]}"))
    assert found == (fault.outcome, fault.code), told
    assert fault.words in told
    after = executor.send(framework, "train", make_request(framework), 120).response
    assert metrics_of(after) == reference
    assert not left_running()
    assert (logs / f"{framework}.log").stat().st_size <= process.LOG_BYTES
