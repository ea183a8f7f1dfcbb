"""Leave in pytest-benchmark's JSON what a run of the matrix would say of its environment."""

import pytest

from harness.store.benchmarks import HEAD
from harness.store.environment import describe_run
from ml.core.contracts import RuntimeSpec


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config, machine_info):
    command = ("pytest", *map(str, config.invocation_params.args))
    head = describe_run("perf", config.rootpath, command, RuntimeSpec())
    machine_info[HEAD] = head.model_dump(mode="json")
