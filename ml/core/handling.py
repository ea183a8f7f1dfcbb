"""Answer a request: every payload gets a response, whatever is wrong with it."""

from __future__ import annotations

import difflib
import errno
import json
import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ml.core.contracts import (
    DistillRequest,
    ErrorInfo,
    Failure,
    FrameworkStatus,
    ImportedSpec,
    StatusRequest,
    SweepRequest,
    TrainRequest,
)
from ml.core.distill import check_kind, run_distillation
from ml.core.errors import (
    MatrixError,
    RequestInvalid,
    describe,
    is_want_of_memory,
    text_of,
)
from ml.core.learner import Adapter, Peers
from ml.core.replicates import run_request
from ml.health.contract import ContractBreached

_Request = TypeVar("_Request", bound=BaseModel)
_UNION_TAGS = {"descriptor", "inline", "function", "network", "estimator", "imported"}
_DIMENSION_TAGS = {"float", "int", "choice"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_surfacing: ContextVar[bool] = ContextVar("surfacing", default=False)


def handle_train(payload: dict[str, Any], adapter: Adapter) -> dict[str, Any]:
    """Train what the payload asks for in this framework and return the response as a dict.

    The response is a ``TrainResult`` (status ok) or a ``Failure`` (status error, with code,
    message, field, expected, received and remedy). No exception leaves it.
    """
    return answer(payload, lambda: _train(payload, adapter))


def handle_distill(payload: dict[str, Any], adapter: Adapter, peers: Peers) -> dict[str, Any]:
    """Train the student that the payload asks for in this framework, from teachers of any.

    The response is as that of ``handle_train``, with ``distillation`` in the result. A framework
    that cannot train students refuses, and names those that can.
    """
    return answer(payload, lambda: _distill(payload, adapter, peers))


def handle_sweep(payload: dict[str, Any], adapter: Adapter) -> dict[str, Any]:
    """Search the hyperparameters that the payload names, and return the tuned model's response.

    The response is as that of ``handle_train``, with ``sweep`` in the result.
    """
    return answer(payload, lambda: _sweep(payload, adapter))


def handle_status(payload: dict[str, Any], adapter: Adapter) -> dict[str, Any]:
    """Set the framework up as a ``StatusRequest`` says, and return a ``FrameworkStatus``.

    The response is a dict, a ``Failure`` where that is refused. No exception leaves it.
    """
    return answer(payload, lambda: _status(payload, adapter))


@contextmanager
def surface(wanted: bool = True) -> Iterator[None]:
    """Let what was not expected leave ``answer`` meanwhile, for a debugger."""
    token = _surfacing.set(wanted)
    try:
        yield
    finally:
        _surfacing.reset(token)


def answer(payload: Any, work: Callable[[], BaseModel]) -> dict[str, Any]:
    """Run ``work`` and return its response; turn whatever it raises into a Failure."""
    try:
        return work().model_dump(mode="json")
    except MatrixError as problem:
        failure = failure_of(problem, _id(payload))
    except Exception as problem:
        # A caller gets a response, whatever broke.
        failure = _unexpected(problem, _id(payload))
        if _surfacing.get() and failure.outcome == "error":
            raise
    return failure.model_dump(mode="json")


def failure_of(problem: MatrixError, id: str) -> Failure:
    """Return an expected failure as the response to the request of this id."""
    return Failure(
        id=id,
        outcome=problem.outcome,  # type: ignore[arg-type]  # a class attribute, tested
        error=ErrorInfo(
            code=problem.code,
            message=problem.message,
            field=problem.field,
            expected=problem.expected,
            received=problem.received,
            remedy=problem.remedy,
            detail=problem.detail,
            contract=problem.contract if isinstance(problem, ContractBreached) else None,
        ),
    )


def _unexpected(problem: Exception, id: str) -> Failure:
    name = type(problem).__name__
    code, remedy = "unexpected_exception", None
    message = f"{name}: {text_of(problem)}"
    if is_want_of_memory(problem):
        code = "out_of_memory"
        message = f"the worker could not get the memory it asked for: {describe(problem)}"
        remedy = "lower budget.rows or the model's size, or use a machine with more memory"
    elif isinstance(problem, OSError) and problem.errno in _NO_ROOM:
        code = "disk_full"
        message = f"there is no room to write: {text_of(problem)}"
        remedy = "free space there, or write to another disk"
    error = ErrorInfo(
        code=code, message=message, remedy=remedy, detail=traceback.format_exc(limit=-12)
    )
    return Failure(
        id=id, outcome="out_of_memory" if code == "out_of_memory" else "error", error=error
    )


def parse_request(payload: Any, kind: type[_Request]) -> _Request:
    """Validate a payload; raises RequestInvalid naming the field, expected and received."""
    if not isinstance(payload, dict):
        raise RequestInvalid(
            "the request is not an object",
            expected=f"a JSON object with the fields of {kind.__name__}",
            received=describe(payload),
            remedy="send a dict; parse JSON text first",
        )
    try:
        text = json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        place, value = ("", payload) if isinstance(problem, RecursionError) else _foreign(payload)
        raise RequestInvalid(
            f"the request is not JSON: {problem}",
            field=place or None,
            expected="objects, arrays, strings, finite numbers, booleans and null",
            received=describe(value),
            remedy="send null for a missing value, and plain Python values for all others",
        ) from None
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        raise _refusal(problem, kind) from None


def _train(payload: dict[str, Any], adapter: Adapter) -> BaseModel:
    request = parse_request(payload, TrainRequest)
    check_kind(request.model, adapter)
    return run_request(request, adapter)


def _sweep(payload: dict[str, Any], adapter: Adapter) -> BaseModel:
    request = parse_request(payload, SweepRequest)
    check_kind(request.model, adapter)
    from ml.core.sweep import run_sweep  # What it searches with is an extra.

    return run_sweep(request, adapter)


def _status(payload: dict[str, Any], adapter: Adapter) -> BaseModel:
    request = parse_request(payload, StatusRequest)
    adapter.prepare(request.runtime)
    return FrameworkStatus(
        framework=adapter.name,
        versions=adapter.versions(),
        devices=adapter.devices(),
        threads=request.runtime.threads,
        device=adapter.device(),
    )


def _distill(payload: dict[str, Any], adapter: Adapter, peers: Peers) -> BaseModel:
    request = parse_request(payload, DistillRequest)
    if isinstance(request.model, ImportedSpec):
        raise RequestInvalid(
            "a model of a project's own cannot be a student: it takes no teacher's outputs",
            code="mode_unsupported",
            field="model.kind",
            expected="'network'",
            received=repr(request.model.kind),
            remedy="make a network the student; a teacher may be of your own",
        )
    if not adapter.trains_students:
        raise RequestInvalid(
            f"{adapter.name} cannot train a student: its estimators take no teacher's outputs",
            code="mode_unsupported",
            field="model",
            expected="a network, in one of " + ", ".join(peers.students),
            received=f"a distill request to {adapter.name}",
            remedy=f"send it to one of these; a teacher may be of {adapter.name}",
        )
    check_kind(request.model, adapter)
    return run_distillation(request, adapter, peers)


def _refusal(problem: ValidationError, kind: type[BaseModel]) -> RequestInvalid:
    problems = problem.errors(include_url=False)
    # A field that is misspelt is also one that is missing; the wrong name tells more.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    if first["type"] == "json_invalid":
        return RequestInvalid(
            "the request is not JSON that can be read",
            expected="valid Unicode text and at most 100 levels of nesting",
            received=first["msg"],
            remedy="correct the text, or flatten the request",
        )
    place = [
        part
        for position, part in enumerate(first["loc"])
        if not _is_union_tag(first["loc"], position)
    ]
    received = describe(first.get("input"))
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if first["type"].startswith("union_tag_"):
        place.append("kind")
        context = first["ctx"]
        received = describe(context.get("tag"))
        expected = f"one of {context['expected_tags']}" if "expected_tags" in context else expected
    elif first["type"] == "bool_type" and place[-1] == "bool":  # the first of a union's kinds
        place.pop()
        expected = "text, a number, true, false or null"
        listed = place[:2] in (["model", "params"], ["sweep", "space"])
        expected += ", or a list of these" if listed else ""
    field = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        names = _names_beside(kind, first["loc"])
        near = difflib.get_close_matches(str(place[-1]), names, n=1)
        return RequestInvalid(
            f"{field} is not a field of the request",
            code="unknown_field",
            field=field,
            expected="one of " + ", ".join(sorted(names)),
            received=received,
            remedy=f"did you mean {near[0]!r}?" if near else "leave it out",
        )
    if first["type"] in ("missing", "union_tag_not_found"):
        return RequestInvalid(
            f"{field} is missing",
            code="missing_field",
            field=field,
            expected="a value",
            received="nothing",
            remedy=f"add {field} to the request",
        )
    return RequestInvalid(
        f"{field} is not valid",
        code="invalid_value",
        field=field,
        expected=expected,
        received=received,
        remedy=f"correct {field}",
    )


def _is_union_tag(location: tuple[int | str, ...], position: int) -> bool:
    """Tell whether a part of a location only says which kind of a union was taken."""
    part, above = location[position], location[:position]
    if above[:2] == ("sweep", "space"):
        return position == 3 and part in _DIMENSION_TAGS
    return part in _UNION_TAGS and above[-1:] in (("data",), ("model",))


def _foreign(payload: Any) -> tuple[str, Any]:
    """Return the place and value of the first leaf that JSON has no form for, else the payload."""
    waiting, seen = [("", payload)], set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            if id(value) in seen:
                continue
            seen.add(id(value))
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            below = [(f"{place}.{key}" if place else f"{key}", leaf) for key, leaf in pairs]
            waiting.extend(reversed(below))
        elif isinstance(value, float):
            if not math.isfinite(value):
                return place, value
        elif value is not None and not isinstance(value, str | int):
            return place, value
    return "", payload


def _names_beside(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the model in which a location's last part was not found."""
    models: list[Any] = [kind]
    for part in location[:-1]:
        nested = []
        for model in models:
            annotation = model.model_fields[part].annotation if part in model.model_fields else None
            nested.extend(_models_in(annotation))
        tagged = [m for m in models if getattr(m.model_fields.get("kind"), "default", None) == part]
        models = nested or tagged or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _id(payload: Any) -> str:
    value = payload.get("id") if isinstance(payload, dict) else None
    # What is no valid Unicode could not be read back from the response's JSON.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else "request"
