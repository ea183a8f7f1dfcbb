"""Throw damaged sweeps at the entry points; each throw gets its response."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import COMMON, DATA, MODELS, answer, check_expected, damaged, fuzzed

from ml.core.contracts import parse_response

pytest.importorskip("optuna")

pytestmark = pytest.mark.contract

SPACES = {
    "sklearn": {
        "params.C": {"kind": "float", "low": 0.01, "high": 1.0, "log": True},
        "params.max_iter": {"kind": "int", "low": 10, "high": 20, "step": 5, "log": False},
        "params.fit_intercept": {"kind": "choice", "values": [True, False]},
    },
    "pytorch": {
        "optimizer.learning_rate": {"kind": "float", "low": 0.01, "high": 1.0, "log": True},
        "hidden.units": {"kind": "int", "low": 1, "high": 5, "step": 2, "log": False},
        "norm": {"kind": "choice", "values": ["none", "batch"]},
    },
}


def sweep_of(framework):
    spec = {
        "space": SPACES[framework],
        "sampler": "tpe",
        "pruner": "median",
        "trials": 3,
        "epochs": 30,
        "seconds": 0.2,
        "patience": 2,
        "batch": 2,
        "folds": 1,
        "journal": None,
    }
    data = {**DATA, "split": {**DATA["split"], "validation_fraction": 0.3}}
    return {**COMMON, "data": data, "model": MODELS[framework], "sweep": spec}


@pytest.mark.parametrize("framework", SPACES)
def test_the_good_sweeps_are_good(framework):
    response = parse_response(answer(framework, sweep_of(framework), "sweep"))
    assert response.status == "ok", response


@pytest.mark.parametrize("framework", SPACES)
def test_a_good_sweep_with_one_damage_gets_a_result_or_a_reason(framework, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # A journal may be called anything.
    good = sweep_of(framework)
    parts = st.sampled_from(["sweep", "sweep", "sweep", "model", "whole"])

    @st.composite
    def payloads(draw):
        part = draw(parts)
        if part == "whole":
            return draw(damaged(good))
        return {**good, part: draw(damaged(good[part]))}

    @fuzzed(EXAMPLES)
    @given(payload=payloads())
    def attempt(payload):
        check_expected(parse_response(answer(framework, payload, "sweep")), payload)

    attempt()


EXAMPLES = 40
