"""Run the checks that users run: each one must fail for an estimator that breaks its promise."""

import pytest

from harness.catalog.algorithms import NETWORKS
from harness.declare import algorithm
from harness.testing import CHECKS, checks_of, parametrize_with_checks
from ml.core.contracts import IntRange

pytestmark = pytest.mark.system

SPACE = {"depth": IntRange(low=0, high=2)}
FINE = algorithm("fine", "broken_estimators:Fine", space=SPACE)
MLP = algorithm("mlp", NETWORKS["mlp"], framework="pytorch", tasks=["classification"])
BREAKERS = {
    "check_learns_a_classification": ("Guesses", "roc_auc"),
    "check_learns_many_classes": ("SeesTheFirstOfMany", "balanced_accuracy"),
    "check_learns_a_regression": ("Guesses", "r2"),
    "check_learns_a_forecast": ("Explodes", "rmse"),
    "check_repeats_to_the_bit": ("Wavers", ""),
    "check_forgets_what_it_trained_before": ("Remembers", ""),
    "check_accepts_missing_and_categorical_values": ("NeedsNumbers", "TypeError"),
    "check_accepts_a_single_feature": ("NeedsTwoFeatures", "IndexError"),
    "check_tells_why_it_refuses": ("NeedsRows", "ArithmeticError: too few"),
    "check_takes_the_bounds_of_its_space": ("NeedsDepth", "no depth"),
    # The last, for what it does to its worker stays there.
    "check_leaves_its_process_as_it_was": ("Meddles", ""),
}


@parametrize_with_checks([FINE, MLP])
def test_what_keeps_the_promises_passes(algorithm, check):
    check(algorithm)


@pytest.mark.parametrize("name", BREAKERS)
def test_what_breaks_a_promise_is_found_out_by_its_check(name):
    broken, told = BREAKERS[name]
    with pytest.raises(AssertionError) as caught:
        CHECKS[name](algorithm("broken", f"broken_estimators:{broken}", space=SPACE))
    assert told in str(caught.value)


def test_every_check_is_broken_once_and_applies_by_task():
    assert set(BREAKERS) == set(CHECKS)
    assert len(list(checks_of(FINE))) == len(CHECKS)
    assert {check.__name__ for check in checks_of(MLP)} == {
        name
        for name in CHECKS
        if not any(word in name for word in ("regression", "forecast", "space"))
    }


def test_an_expected_failure_is_a_strict_xfail_and_its_name_is_checked():
    reasons = {"check_learns_many_classes": "it is made for two"}
    cases = parametrize_with_checks([MLP], expected_failed_checks=lambda _: reasons).args[1]
    marked = {case.id: case.marks for case in cases if case.marks}
    assert list(marked) == ["mlp-pytorch-learns_many_classes"]
    [mark] = marked["mlp-pytorch-learns_many_classes"]
    assert mark.kwargs == {"reason": "it is made for two", "strict": True}
    with pytest.raises(ValueError, match="'mlp': there is no check 'check_nothing'; choose from"):
        parametrize_with_checks([MLP], expected_failed_checks={"check_nothing": "why"})
