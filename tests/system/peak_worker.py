"""Train a small table, a big one, and the small one again in one worker; print the peaks."""

import json
import sys

import numpy as np

from ml import worker


def make_request(framework, rows):
    """Return a request for an mlp on this many rows of noise."""
    draw = np.random.default_rng(rows)
    columns = {f"x{place}": draw.normal(size=rows).tolist() for place in range(12)}
    columns["y"] = draw.normal(size=rows).tolist()
    network = {"kind": "network", "architecture": "mlp", "hidden": [32], "epochs": 2}
    estimator = {"kind": "estimator", "estimator": "mlp", "params": {"max_iter": 2}}
    return {
        "id": f"{rows} rows",
        "data": {"kind": "inline", "task": "regression", "target": "y", "columns": columns},
        "model": estimator if framework == "sklearn" else network,
        "replicates": 1,
    }


def main(framework):
    """Print the three peaks in bytes; after the big one, memory is held as by a cache."""
    worker.serve(framework, "warm", "{}")
    peaks, kept = [], []
    for rows in (200, 100_000, 200):
        request = json.dumps(make_request(framework, rows))
        answer = json.loads(worker.serve(framework, "train", request))
        peaks.append(answer["peak_memory_bytes"])
        kept.append(np.ones(rows * 200))
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(sys.argv[1])
