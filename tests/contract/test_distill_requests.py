"""Refuse a distill request that cannot be, by its field, and say what helps."""

import json

import pytest
from test_distill import BOOSTING, FOREST, WIDE, distill, dummy, payload_of
from test_handlers import REFUSED, bad_payload
from test_learners import NEURAL

from ml.core.contracts import DistillRequest, Failure, parse_response
from ml.registry import ENTRY_POINTS, entry_point

pytestmark = pytest.mark.contract


def error_of(framework, payload):
    failure = parse_response(json.dumps(distill(framework, payload), allow_nan=False))
    assert isinstance(failure, Failure)
    assert failure.error.code != "unexpected_exception", failure.error.detail
    assert failure.error.remedy
    return failure.error


@pytest.mark.parametrize(
    ("place", "value", "code", "field", "expected", "received", "remedy"),
    [pytest.param(*case, id=name) for name, *case in REFUSED],
)
def test_a_bad_request_is_refused_as_for_a_training(
    place, value, code, field, expected, received, remedy
):
    payload = {**bad_payload("pytorch", place, value), "teachers": [BOOSTING]}
    assert error_of("pytorch", payload) == error_of_training(payload)


def error_of_training(payload):
    plain = {name: value for name, value in payload.items() if name != "teachers"}
    failure = parse_response(json.dumps(entry_point("pytorch").handle_train_request(plain)))
    if failure.error.code != "unknown_field" or "." in failure.error.field:
        return failure.error
    # A wrong name beside those of the request: the choices have the new fields, too.
    names = sorted(DistillRequest.model_fields)
    return failure.error.model_copy(update={"expected": "one of " + ", ".join(names)})


# (name, changes, code, field, part of the message or of the remedy)
TEACHERS = [
    ("none", {"teachers": []}, "invalid_value", "teachers", "teachers"),
    ("nine", {"teachers": [BOOSTING] * 9}, "invalid_value", "teachers", "teachers"),
    ("no_object", {"teachers": [7]}, "invalid_value", "teachers.0", ""),
    ("unknown", {"teachers": [{**BOOSTING, "framework": "keras"}]}, "invalid_value",
     "teachers.0.framework", ""),
    ("misspelt", {"teachers": [{**BOOSTING, "modle": 1}]}, "unknown_field",
     "teachers.0.modle", "did you mean 'model'?"),
    ("deep", {"teachers": [{**WIDE, "model": {**WIDE["model"], "epoch": 1}}]}, "unknown_field",
     "teachers.0.model.epoch", "did you mean 'epochs'?"),
    ("epochs", {"teachers": [{**WIDE, "model": {**WIDE["model"], "epochs": 0}}]},
     "invalid_value", "teachers.0.model.epochs", ""),
    ("kind", {"teachers": [BOOSTING, {**WIDE, "framework": "sklearn"}]}, "model_kind",
     "teachers.1.model.kind", "teacher 1 (sklearn)"),
    ("estimator", {"teachers": [{**FOREST, "model": dummy() | {"estimator": "dumy"}}]},
     "unknown_name", "teachers.0.model.estimator", "did you mean 'dummy'?"),
    ("params", {"teachers": [{"framework": "sklearn", "model": dummy(strategy="no")}]},
     "estimator_refused", "teachers.0.model.params", "teacher 0 (sklearn)"),
    ("diverges", {"teachers": [{**WIDE, "model": {**WIDE["model"],
     "optimizer": {"name": "sgd", "learning_rate": 1e30}}}]},
     "loss_not_finite", "teachers.0.model.optimizer.learning_rate", "teacher 0 (pytorch)"),
    ("cold", {"temperature": 0.0}, "invalid_value", "temperature", ""),
    ("hot", {"temperature": 1e9}, "invalid_value", "temperature", ""),
    ("share", {"soft_share": 1.5}, "invalid_value", "soft_share", ""),
    ("text", {"soft_share": "0.5"}, "invalid_value", "soft_share", ""),
    ("student", {"model": dummy()}, "model_kind", "model.kind", "pytorch cannot train"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "field", "words"),
    [pytest.param(*case, id=name) for name, *case in TEACHERS],
)
def test_a_bad_teacher_is_refused_by_its_place(changes, code, field, words):
    error = error_of("pytorch", payload_of("pytorch", **changes))
    assert (error.code, error.field) == (code, field)
    assert words in error.message + error.remedy


def test_teachers_are_asked_for():
    payload = payload_of("pytorch")
    del payload["teachers"]
    error = error_of("pytorch", payload)
    assert (error.code, error.field) == ("missing_field", "teachers")


@pytest.mark.parametrize("framework", [name for name in ENTRY_POINTS if name not in NEURAL])
def test_a_framework_without_students_says_who_has_them(framework):
    error = error_of(framework, payload_of(framework))
    assert (error.code, error.field) == ("mode_unsupported", "model")
    assert error.expected == "a network, in one of " + ", ".join(NEURAL)
    assert framework in error.message
    assert "a teacher may be" in error.remedy
    assert error_of(framework, {**payload_of(framework), "teachers": 3}).field == "teachers"
