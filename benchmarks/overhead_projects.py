"""Hold the projects that ``overhead.py`` measures, as the text of their files."""

DESCRIPTOR = """\
id = "made{number:04}"
title = "Made for the benchmark; its table is never read"
task = "regression"
target = "y"
rows = 40
columns = 2
content_sha256 = "{hash}"

[source]
kind = "file"
path = "made.csv"
format = "csv"

[provenance]
origin = "made"
licence = "none"
"""
WORKER = '''
"""Answer every request at once with a result that was made ahead."""
import json
import os

ANSWER = """RESULT"""


def serve(framework, operation, payload):
    if operation == "warm":
        return json.dumps({"pid": os.getpid()})
    return ANSWER.replace("THE CELL", json.loads(payload)["id"])
'''
NOOP = """
from functools import partialmethod

from harness.execute.local import LocalExecutor

LocalExecutor.__init__ = partialmethod(LocalExecutor.__init__, worker_module="noop_worker")
"""
STOPWATCH = """
import time

import pytest

TIMES = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    wall, cpu = time.perf_counter(), time.process_time()
    done = yield
    TIMES.append(f"{time.perf_counter() - wall} {time.process_time() - cpu}")
    return done


def pytest_sessionfinish():
    with open("times.txt", "w") as stream:
        stream.write("\\n".join(TIMES))
"""
CELLS = """
import pytest

@pytest.mark.slow_matrix
@pytest.mark.matrix({arguments})
def test_cells(cell):
    cell.run()
"""
ALGORITHMS = """
from harness.declare import algorithm
from ml.core.contracts import EstimatorSpec


def pytest_matrix_algorithms():
    linear = EstimatorSpec(estimator="linear")
    return [algorithm(f"made{number:04}", linear) for number in range(100)]
"""
PLAIN = """
import pytest

@pytest.mark.parametrize("case", [f"made{{number:04}}-a{{part}}-sklearn-train"
                                  for number in range({numbers}) for part in range({parts})])
def test_plain(case):
    pass
"""
FORKED = """
import multiprocessing

import pytest
from _pytest.runner import runtestprotocol

CONTEXT = multiprocessing.get_context("fork")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    queue = CONTEXT.Queue()
    process = CONTEXT.Process(target=work, args=(item, queue))
    process.start()
    for sent in queue.get(timeout=60):
        config = item.config
        report = config.hook.pytest_report_from_serializable(config=config, data=sent)
        item.ihook.pytest_runtest_logreport(report=report)
    process.join()
    return True


def work(item, queue):
    send = item.config.hook.pytest_report_to_serializable
    reports = runtestprotocol(item, log=False)
    queue.put([send(config=item.config, report=report) for report in reports])
"""
OBJECTIVE = """
from benchopt import BaseObjective

class Objective(BaseObjective):
    name = "nothing"
    sampling_strategy = "run_once"

    def set_data(self, index):
        self.index = index

    def evaluate_result(self, value):
        return {"value": value}

    def get_one_result(self):
        return {"value": 1.0}

    def get_objective(self):
        return {"index": self.index}
"""
DATASET = """
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = "made"
    parameters = {{"index": list(range({runs}))}}

    def get_data(self):
        return {{"index": self.index}}
"""
SOLVER = """
import time

from benchopt import BaseSolver

class Solver(BaseSolver):
    name = "noop"
    sampling_strategy = "run_once"

    def set_objective(self, index):
        self.index = index

    def run(self, _):
        pass

    def get_result(self):
        with open("times.txt", "a") as stream:
            stream.write(f"{time.time()}\\n")
        return {"value": 1.0}
"""
