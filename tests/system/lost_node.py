"""Lose a node of a real cluster under a cell, and write down what the executor makes of it."""

import json
import sys
import time
from functools import partial
from pathlib import Path

from ray.cluster_utils import Cluster
from test_ray import make_cell

from harness.execute.local import LocalExecutor
from harness.execute.ray import RayExecutor

if __name__ == "__main__":
    tries = Path(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    doomed = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    make = partial(LocalExecutor, worker_module="ray_worker")
    executor = RayExecutor(make, tries.parent / "workers", cluster.address)
    cell = make_cell("waiting_once", tries, timeout=60.0)
    executor.submit([cell])
    while not tries.exists():
        time.sleep(0.05)
    cluster.add_node(num_cpus=1)
    cluster.remove_node(doomed, allow_graceful=False)
    execution = executor.run(cell)
    told = [execution.response, *execution.lost]
    # The lost node's last words go to the standard output, after everything else.
    tries.with_suffix(".json").write_text(json.dumps([[e.outcome, e.error.code] for e in told]))
    executor.close()
    cluster.shutdown()
