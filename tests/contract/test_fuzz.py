"""Throw arbitrary JSON and arbitrary tables at the entry points; each throw gets its response."""

import copy
import json

import pytest
from entry_points import entry_point_or_skip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.core.contracts import (
    DistillRequest,
    Failure,
    FrameworkStatus,
    InlineData,
    NetworkSpec,
    OptimizerSpec,
    SplitRule,
    TrainRequest,
    parse_response,
    parse_status,
)
from ml.registry import ENTRY_POINTS

pytestmark = pytest.mark.contract

CONTRACTS = (DistillRequest, InlineData, NetworkSpec, OptimizerSpec, SplitRule, TrainRequest)
FIELDS = sorted({name for contract in CONTRACTS for name in contract.model_fields})
TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)  # lone surrogates, too
NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.integers(-(10**320), 10**320),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**4000, -(10**4000)]),
    st.floats(),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.sampled_from(FIELDS))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=5),
    ),
    max_leaves=12,
)


def fuzzed(examples):
    """Draw the same examples in every run, whatever the machine."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
    )


def answer(framework, payload, operation="train"):
    module = entry_point_or_skip(framework)
    response = getattr(module, f"handle_{operation}_request")(payload)
    assert type(response) is dict
    return json.dumps(response, allow_nan=False)


def check_expected(response, payload):
    """Check that a response is a result, or a failure that somebody thought of."""
    if isinstance(response, Failure):
        assert response.error.code != "unexpected_exception", (payload, response.error.detail)
        assert response.error.remedy, (payload, response.error)


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@fuzzed(40)
@given(payload=VALUES)
def test_any_json_value_is_answered(framework, payload):
    for operation in ("train", "distill"):
        failure = parse_response(answer(framework, payload, operation))
        assert isinstance(failure, Failure)
        check_expected(failure, payload)
    status = parse_status(answer(framework, payload, "status"))
    assert isinstance(status, FrameworkStatus if payload == {} else Failure), status
    check_expected(status, payload)


SIZES = [0.5, None, -1.0, 2.0, 1.5, -0.5, 0.0, 3.0, -2.0, 1.0, 0.25, -0.75]
DATA = {
    "kind": "inline",
    "id": "small",
    "task": "classification",
    "target": "label",
    "columns": {
        "size": SIZES,
        "colour": ["red", "blue", None] * 4,
        "when": list(range(12)),
        "label": ["yes", "no"] * 6,
    },
    "positive": "yes",
    "split": {"rule": "random", "column": "when", "test_fraction": 0.25},
}
FORECAST = {
    **DATA,
    "task": "forecasting",
    "target": "size",
    "positive": None,
    "split": {"rule": "time", "column": "when", "test_fraction": 0.3, "validation_fraction": 0.2},
    "forecast": {"period": "step", "season": 2, "horizon": 1, "series": "colour", "lags": [1, 2]},
}
FORECAST["columns"] = {**DATA["columns"], "colour": ["red", "blue", "red"] * 4}
ESTIMATOR = {"kind": "estimator", "estimator": "linear", "params": {"tol": 0.01}}
NETWORK = {
    "kind": "network",
    "architecture": "mlp",
    "hidden": [2],
    "activation": "tanh",
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5},
    "epochs": 2,
    "batch_size": 8,
    "patience": 1,
}
COMMON = {
    "schema_version": 1,
    "id": "cell",
    "preprocessing": {"encoding": "one_hot", "max_levels": 4, "scale": True},
    "seed": 3,
    "replicates": 1,
    "budget": {"rows": 100, "seconds": 0.05},
}
MODELS = {"sklearn": ESTIMATOR, "pytorch": NETWORK}


def places(value, above=()):
    """Return the path of every field and element below a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in pairs:
        found.append((*above, key))
        if isinstance(inner, dict | list):
            found += places(inner, (*above, key))
    return found


def at(payload, place):
    for key in place:
        payload = payload[key]
    return payload


@st.composite
def damaged(draw, payload):
    """Replace, remove or copy from elsewhere one field or element of a good payload."""
    payload = copy.deepcopy(payload)
    # First a part of the payload, so that the many values of the table do not draw all damage.
    part = draw(st.sampled_from(sorted(payload)))
    *above, last = draw(st.sampled_from([p for p in places(payload) if p[0] == part]))
    spot = at(payload, above)
    act = draw(st.sampled_from(["replace", "replace", "remove", "copy"]))
    if act == "remove":
        del spot[last]
    elif act == "copy":
        spot[last] = copy.deepcopy(at(payload, draw(st.sampled_from(places(payload)))))
    elif type(spot[last]) in (int, float):
        spot[last] = draw(NUMBERS | VALUES)
    else:
        spot[last] = draw(VALUES)
    return payload


@pytest.mark.parametrize("data", [DATA, FORECAST], ids=["classification", "forecasting"])
@pytest.mark.parametrize("framework", MODELS)
def test_the_good_payloads_are_good(framework, data):
    response = parse_response(
        answer(framework, {**COMMON, "data": data, "model": MODELS[framework]})
    )
    assert response.status == "ok", response


@pytest.mark.parametrize("data", [DATA, FORECAST], ids=["classification", "forecasting"])
@pytest.mark.parametrize("framework", MODELS)
def test_a_good_payload_with_one_damage_gets_a_result_or_a_reason(framework, data):
    good = {**COMMON, "data": data, "model": MODELS[framework]}

    @fuzzed(120)
    @given(payload=damaged(good))
    def attempt(payload):
        check_expected(parse_response(answer(framework, payload)), payload)

    attempt()


CELLS = {
    "parts": st.sampled_from(["train", "test"]),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "small": st.integers(-2, 2),
    "huge": st.sampled_from([1e300, -1.7e308, 1e150, 5e-324, 2**63, -(10**308), 10**400]),
    "truth": st.booleans(),
    "text": st.text(max_size=3),
    "word": st.sampled_from(["a", "b", "1", "1e999", "nan", "", " ", "\0"]),
}
CELLS["mixed"] = st.one_of(*CELLS.values())


@st.composite
def tables(draw):
    """Draw a few columns of one length, some wholly missing, constant or with holes."""
    rows = draw(st.sampled_from([0, 1, 2, 3, 5, 9, 12, 14]))

    def column():
        cells = CELLS[draw(st.sampled_from(sorted(CELLS)))]
        form = draw(st.sampled_from(["whole", "holes", "constant", "missing"]))
        if form == "missing":
            return [None] * rows
        if form == "constant":
            return [draw(cells)] * rows
        cells = cells if form == "whole" else st.none() | cells
        return draw(st.lists(cells, min_size=rows, max_size=rows))

    names = draw(st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True))
    return {
        "kind": "inline",
        "task": draw(st.sampled_from(["classification", "regression"])),
        "target": names[0],
        "columns": {name: column() for name in names},
        "split": {
            "rule": draw(st.sampled_from(["random", "random", "time", "group", "given"])),
            "column": names[-1],
        },
    }


@pytest.mark.parametrize(
    ("framework", "model"),
    [
        ("sklearn", {"kind": "estimator", "estimator": "dummy"}),
        ("sklearn", {"kind": "estimator", "estimator": "linear"}),
        ("pytorch", {"kind": "network", "architecture": "linear", "epochs": 1}),
    ],
    ids=["dummy", "linear", "pytorch"],
)
@fuzzed(120)
@given(data=tables())
def test_any_table_gets_a_result_or_a_reason(framework, model, data):
    payload = {"data": data, "model": model, "replicates": 1}
    response = parse_response(answer(framework, payload))
    check_expected(response, payload)
    if not isinstance(response, Failure):
        [replicate] = response.replicates
        assert replicate.train_rows + replicate.validation_rows + replicate.test_rows <= 14
