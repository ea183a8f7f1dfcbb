"""Spread the tests over processes, and let these share what JAX compiles."""

import os
import re
import shutil
import tempfile

import pytest
from browser_fixture import axe, browser, go, run_page, visit  # noqa: F401 - fixtures
from fault_table import lay_table_out
from unused_plugins import UNUSED

FOLDER = pytest.StashKey[str]()
# What one test of such a file starts, compiles or traces, the others use again.
TOGETHER = re.compile(
    r"test_(?:request_order|\w+_browser|prepare|estimators|checkpoints|resume|ray)\.py"
    r"|test_learner\[\w+-\w+"
    r"|test_plugin\.py::(?=test_(?:cells_run|a_student|xdist_gives)_)"
)


@pytest.fixture
def pytester(pytester, monkeypatch):
    """Give projects whose pytest starts with the plugins that they use."""
    monkeypatch.setenv("PYTEST_ADDOPTS", UNUSED)
    return pytester


def pytest_sessionstart():
    # It has been read; the projects of our tests are not to write there.
    os.environ.pop("GITHUB_STEP_SUMMARY", None)


def pytest_configure(config):
    # Workers of xdist, of the matrix and of pytester inherit the environment.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.stash[FOLDER] = tempfile.mkdtemp(prefix="mlmatrix-jax-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.stash[FOLDER]
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # As a worker has it: TensorFlow imports no Keras, and rounds as it does there.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Half of the tests' time would be the optimisation of code that runs for milliseconds. The
    # matrix compiles in full, and its gate compares what comes out.
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    )


def pytest_unconfigure(config):
    folder = config.stash.get(FOLDER, None)
    if folder is not None:
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter):
    reports = [one for group in terminalreporter.stats.values() for one in group]
    lines = lay_table_out(reports)
    if lines:
        terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            found = TOGETHER.search(nodeid)
            return found.group() if found else nodeid

    return Scheduling(config, log)
