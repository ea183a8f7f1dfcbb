"""Ask for small sweeps: a table in time order, a network's space and an estimator's."""

import copy
import json

import numpy as np
from entry_points import entry_point_or_skip

from ml.core.contracts import parse_response

NETWORK = {
    "kind": "network",
    "architecture": "mlp",
    "hidden": [6],
    "optimizer": {"learning_rate": 0.02},
    "epochs": 8,
    "batch_size": 32,
    "patience": 0,
}
ESTIMATOR = {"kind": "estimator", "estimator": "k_nearest_neighbors"}
NETWORK_SPACE = {
    "optimizer.learning_rate": {"kind": "float", "low": 1e-3, "high": 0.3, "log": True},
    "hidden.units": {"kind": "int", "low": 4, "high": 8, "step": 2},
    "norm": {"kind": "choice", "values": ["none", "batch"]},
}
ESTIMATOR_SPACE = {
    "params.n_neighbors": {"kind": "int", "low": 1, "high": 14},
    "params.p": {"kind": "float", "low": 1.0, "high": 4.0},
    "params.weights": {"kind": "choice", "values": ["uniform", "distance"]},
}
ROWS = 160


def table(rows=ROWS):
    rng = np.random.default_rng(5)
    size, weight = rng.normal(size=(2, rows))
    colour = rng.choice(["red", "green", "blue"], rows)
    signal = size - 0.5 * weight + (colour == "red") + 0.8 * rng.normal(size=rows)
    return {
        "day": [f"2024-{1 + n // 28:02d}-{1 + n % 28:02d}" for n in range(rows)],
        "size": size.tolist(),
        "weight": weight.tolist(),
        "colour": colour.tolist(),
        "label": np.where(signal > 0.3, "high", "low").tolist(),
    }


def payload_of(framework, space=None, **changes):
    """Return a sweep over time-ordered rows, of which the newest quarter are the test rows."""
    network = framework != "sklearn"
    spec = {"trials": 8, "batch": 4, "sampler": "random"}
    spec |= {key: changes.pop(key) for key in list(changes) if key not in ("model", "data")}
    outer = {k: spec.pop(k) for k in ("replicates", "artifact_dir", "runtime") if k in spec}
    payload = {
        "id": "swept",
        "data": {
            "kind": "inline",
            "task": "classification",
            "target": "label",
            "split": {"rule": "time", "column": "day"},
            "columns": table(),
        },
        "model": copy.deepcopy(NETWORK if network else ESTIMATOR),
        "seed": 4,
        "replicates": 1,
        "sweep": {"space": space or (NETWORK_SPACE if network else ESTIMATOR_SPACE), **spec},
        **outer,
        **changes,
    }
    if payload["sweep"]["sampler"] == "grid":
        chosen = "norm" if network else "params.weights"
        whole = "hidden.units" if network else "params.n_neighbors"
        steps = {"kind": "int", "low": 4, "high": 6}
        payload["sweep"]["space"] = {chosen: payload["sweep"]["space"][chosen], whole: steps}
    return payload


def answer(framework, payload):
    module = entry_point_or_skip(framework)
    return parse_response(json.dumps(module.handle_sweep_request(payload), allow_nan=False))


def sweep(framework, **changes):
    result = answer(framework, payload_of(framework, **changes))
    assert result.status == "ok", result
    return result


def told(info):
    """Return what a sweep found, without its times."""
    return info.model_dump(exclude={"seconds": True, "trials": {"__all__": {"seconds"}}})


def poisoned(payload, rows):
    """Return the payload with nonsense in the features and targets of these rows."""
    payload = copy.deepcopy(payload)
    columns = payload["data"]["columns"]
    for row in rows:
        columns["size"][row] = 1e6 * (-1) ** row
        columns["weight"][row] = None
        columns["colour"][row] = f"nonsense {row % 7}"
        columns["label"][row] = "low" if columns["label"][row] == "high" else "high"
    return payload
