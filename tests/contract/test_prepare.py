"""Set every framework up for runtimes, and see in the framework itself that it is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from entry_points import entry_point_or_skip

from ml.core.contracts import RuntimeSpec
from ml.core.errors import RequestInvalid, Unavailable
from ml.registry import ENTRY_POINTS, adapter_of, entry_point

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("runtime_worker.py")
LIBRARIES = {
    "sklearn": "scikit-learn",
    "pytorch": "PyTorch",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
}
DATA = {
    "kind": "inline",
    "task": "regression",
    "target": "y",
    "columns": {"x": list(range(40)), "y": [2 * x for x in range(40)]},
}


@pytest.fixture
def adapter(request):
    """Give the framework's adapter, and set it back to the defaults afterwards."""
    try:
        adapter = adapter_of(request.param)
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield adapter
    adapter.prepare(RuntimeSpec())


@pytest.mark.parametrize("adapter", ["pytorch"], indirect=True)
def test_pytorch_takes_threads_and_determinism_request_by_request(adapter):
    import torch

    adapter.prepare(RuntimeSpec(threads=3, deterministic=False))
    assert torch.get_num_threads() == 3
    assert not torch.are_deterministic_algorithms_enabled()
    adapter.prepare(RuntimeSpec(device="cpu"))
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert adapter.device() == "cpu"
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize("adapter", ["pytorch"], indirect=True)
def test_pytorch_stages_on_the_device_in_use_and_brings_back(adapter):
    import torch

    from ml.frameworks.pytorch.data import to_numpy, to_tensor, use_device

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    adapter.prepare(RuntimeSpec(device="cpu"))
    staged = to_tensor(array)
    assert np.shares_memory(staged.numpy(), array)
    np.testing.assert_array_equal(to_numpy(staged.requires_grad_()), array)
    # The one device beside the CPU that every build of PyTorch has; it holds shapes, no values.
    use_device("meta")
    try:
        assert adapter.device() == "meta"
        assert to_tensor(array).device.type == "meta"
        assert torch.zeros(2).device.type == "meta"
    finally:
        adapter.prepare(RuntimeSpec(device="cpu"))
    assert torch.zeros(2).device.type == to_tensor(array).device.type == "cpu"


@pytest.mark.parametrize("adapter", ["sklearn"], indirect=True)
def test_sklearn_takes_threads_request_by_request_and_jobs_where_numbers_may_differ(adapter):
    from joblib import effective_n_jobs
    from threadpoolctl import threadpool_info

    for threads, deterministic, jobs in [(3, True, 1), (2, False, 2), (1, True, 1)]:
        adapter.prepare(RuntimeSpec(threads=threads, deterministic=deterministic))
        pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
        assert {pools["blas"], pools["openmp"]} == {threads}
        assert effective_n_jobs(None) == jobs


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_cuda_device_that_is_not_there_is_refused_by_its_key(framework):
    module = entry_point_or_skip(framework)
    module.ADAPTER.prepare(RuntimeSpec())
    devices = module.ADAPTER.devices()
    if any(name.startswith("cuda") for name in devices):
        pytest.skip(f"there is one: {devices}")
    kind = {"kind": "network", "architecture": "linear"}
    model = {"kind": "estimator", "estimator": "linear"} if framework == "sklearn" else kind
    request = {"data": DATA, "model": model, "runtime": {"device": "cuda"}}
    answer = module.handle_train_request(request)
    assert (answer["status"], answer["outcome"]) == ("error", "error")
    error = answer["error"]
    assert error["code"] == "device_unavailable"
    assert error["field"] == "runtime.device"
    assert error["message"] == f"{LIBRARIES[framework]} finds no CUDA device"
    assert error["expected"] == "a device that is there: " + ", ".join(devices)
    assert error["received"] == "'cuda'"
    assert error["remedy"].startswith("set the device to 'auto' or 'cpu'")


@pytest.mark.parametrize("adapter", ["pytorch"], indirect=True)
def test_a_result_tells_what_was_used_and_teachers_get_the_same_runtime(adapter):
    pytest.importorskip("sklearn")
    import torch
    from threadpoolctl import threadpool_info

    request = {
        "data": DATA,
        "model": {"kind": "network", "architecture": "linear", "epochs": 1},
        "teachers": [
            {"framework": "sklearn", "model": {"kind": "estimator", "estimator": "linear"}}
        ],
        "replicates": 1,
        "runtime": {"threads": 2, "device": "cpu"},
    }
    sklearn = adapter_of("sklearn")
    sklearn.prepare(RuntimeSpec())
    answer = entry_point("pytorch").handle_distill_request(request)
    threads, pools = torch.get_num_threads(), threadpool_info()
    sklearn.prepare(RuntimeSpec())
    assert answer["status"] == "ok", answer
    assert (answer["threads"], answer["device"]) == (2, "cpu")
    assert threads == 2
    assert {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"} == {2}
    refused = {**request, "runtime": {"device": "tpu"}}
    error = entry_point("pytorch").handle_distill_request(refused)["error"]
    assert (error["field"], error["expected"]) == ("runtime.device", "'auto', 'cpu' or 'cuda'")


@pytest.fixture(scope="module")
def started():
    """Run fresh processes at once: TensorFlow and JAX fix their threads when they start."""
    two = {"threads": 2, "deterministic": False}
    asked = [{**two, "device": "cpu"}, {"threads": 1}, {"threads": 2, "device": "auto"}]
    running = {}
    for framework, state in [("tensorflow", "fresh"), ("jax", "fresh"), ("jax", "used")]:
        if importlib.util.find_spec(ENTRY_POINTS[framework][1]) is None:
            continue
        runtimes = asked if state == "fresh" else [{"threads": 511}]
        running[framework, state] = subprocess.Popen(
            [sys.executable, WORKER, framework, state, *map(json.dumps, runtimes)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    # All of them are waited for before one is looked at, so that none stays behind.
    told = {name: process.communicate(timeout=120) for name, process in running.items()}
    failed = {name: told[name][1] for name, process in running.items() if process.returncode}
    assert not failed
    return {name: json.loads(out) for name, (out, _) in told.items()}


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_threads_are_those_of_the_first_request_and_others_are_refused(framework, started):
    if (framework, "fresh") not in started:
        pytest.skip(f"{framework} is not installed")
    first, other, again = started[framework, "fresh"]
    assert (first["status"], first["threads"], first["device"]) == ("ok", 2, "cpu")
    assert first["seen"] in (2, None)
    assert other["error"]["code"] == "runtime_fixed"
    assert other["error"]["field"] == "runtime.threads"
    assert (other["error"]["expected"], other["error"]["received"]) == ("2", "1")
    assert other["seen"] == first["seen"]
    assert (again["status"], again["threads"]) == ("ok", 2)


def test_threads_of_a_process_that_has_used_jax_are_known(started):
    if ("jax", "used") not in started:
        pytest.skip("jax is not installed")
    [answer] = started["jax", "used"]
    assert int(answer["error"]["expected"]) == (answer["seen"] or os.cpu_count())
    assert answer["error"]["code"] == "runtime_fixed"
    assert answer["error"]["field"] == "runtime.threads"
    assert answer["error"]["received"] == "511"


def test_in_place_only_what_is_fixed_is_forgiven():
    adapter = adapter_of("pytorch")

    def refuse(code):
        def prepare(runtime):
            raise RequestInvalid("no", code=code)

        return type(adapter)(**{**vars(adapter), "prepare": prepare})

    refuse("runtime_fixed").prepare_in_place()
    with pytest.raises(RequestInvalid, match="no"):
        refuse("device_unavailable").prepare_in_place()
