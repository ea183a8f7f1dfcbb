import json

import pytest
from contract_documents import DOCUMENTS, FAILURE, REPLICATE, REQUEST, RESULT
from pydantic import BaseModel, TypeAdapter, ValidationError

from ml.core import contracts
from ml.core.contracts import (
    GREATER_IS_BETTER,
    SCHEMA_VERSION,
    DescriptorData,
    EstimatorSpec,
    Failure,
    InlineData,
    NetworkSpec,
    Outcome,
    ReplicateResult,
    Timings,
    TrainRequest,
    TrainResult,
    parse_response,
)
from ml.core.errors import (
    DataInvalid,
    MatrixError,
    RequestInvalid,
    TrainingDiverged,
    Unavailable,
)

pytestmark = pytest.mark.unit

MODELS = [
    value
    for value in vars(contracts).values()
    if isinstance(value, type) and issubclass(value, contracts.Contract)
]


def changed(document, path, value):
    copy = json.loads(json.dumps(document))
    *above, last = path.split(".")
    place = copy
    for part in above:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return copy


def read(model, document):
    return model.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(("model", "document"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_come_back_from_json_value_for_value(model, document):
    record = read(model, document)
    assert record.model_dump(mode="json") == document
    assert json.loads(record.model_dump_json()) == document
    assert model.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(("document", "model"), [(RESULT, TrainResult), (FAILURE, Failure)])
def test_a_response_is_told_apart_by_its_status(document, model):
    assert type(parse_response(json.dumps(document))) is model
    assert type(parse_response(json.dumps(document).encode())) is model


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"status": "ok"}', '{"status": "fine"}', json.dumps(REQUEST)]
)
def test_what_is_no_response_is_refused(text):
    with pytest.raises(ValidationError):
        parse_response(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", "7"),
        ("seed", 7.0),
        ("seed", True),
        ("seed", -1),
        ("seed", 2**63),
        ("id", 7),
        ("replicates", 0),
        ("replicates", 101),
        ("replicates", "3"),
        ("budget.rows", 1),
        ("budget.seconds", 0),
        ("budget.seconds", "60"),
        ("budget.seconds", float("nan")),
        ("budget.seconds", float("inf")),
        ("schema_version", 2),
        ("schema_version", 0),
        ("schema_version", "1"),
        ("model.epochs", 0),
        ("model.epochs", 2.5),
        ("model.hidden", 3),
        ("model.hidden", [3, 0]),
        ("model.hidden", ["3"]),
        ("model.architecture", "gan"),
        ("model.patience", -1),
        ("model.optimizer.learning_rate", 0),
        ("model.optimizer.learning_rate", float("nan")),
        ("model.optimizer.beta1", 1.0),
        ("model.optimizer.name", "lion"),
        ("model.kind", "tree"),
        ("model", None),
        ("data.kind", "file"),
        ("data.task", "clustering"),
        ("data.id", "../etc"),
        ("data.id", "Tiny"),
        ("data.id", "a" * 65),
        ("data.columns", []),
        ("data.columns", {"y": [float("nan")]}),
        ("data.columns", {"y": [float("-inf")]}),
        ("data.columns", {"y": [[1]]}),
        ("data.columns", {"y": {"0": 1}}),
        ("data.split.test_fraction", 0),
        ("data.split.test_fraction", 1),
        ("data.split.rule", "last"),
        ("data.forecast.season", 0),
        ("data.forecast.lags", [0]),
        ("preprocessing.max_levels", 1),
        ("preprocessing.max_levels", 1025),
        ("preprocessing.scale", "yes"),
        ("preprocessing.scale", 1),
        ("preprocessing.encoding", "target"),
        ("runtime.threads", 0),
        ("runtime.threads", 513),
        ("runtime.device", "tpu"),
        ("runtime.models_at_once", -1),
        ("runtime.models_at_once", 65),
        ("runtime.deterministic", 1),
        ("artifact_dir", 3),
    ],
)
def test_a_request_is_strict(path, value):
    with pytest.raises(ValidationError) as caught:
        read(TrainRequest, changed(REQUEST, path, value))
    place = ".".join(str(part) for part in caught.value.errors()[0]["loc"])
    assert path.split(".")[0] in place


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (RESULT, "status", "error"),
        (RESULT, "schema_version", 2),
        (RESULT, "threads", 0),
        (RESULT, "parameters", -1),
        (RESULT, "rows_per_second", float("inf")),
        (RESULT, "data.numeric", "1"),
        (RESULT, "data.sample.method", "last"),
        (RESULT, "data.sample.rows", 0),
        (RESULT, "replicates.0.metrics", {"rmse": float("nan")}),
        (RESULT, "replicates.0.metrics", {"rmse": None}),
        (RESULT, "replicates.0.history.train", [float("inf")]),
        (RESULT, "replicates.0.stopped", "bored"),
        (RESULT, "timings.fit", -0.1),
        (FAILURE, "outcome", "failed"),
        (FAILURE, "outcome", None),
        (FAILURE, "schema_version", 2),
        (FAILURE, "error.code", None),
    ],
)
def test_a_response_is_strict(document, path, value):
    with pytest.raises(ValidationError):
        parse_response(json.dumps(changed(document, path, value)))


@pytest.mark.parametrize(
    ("model", "document", "path"),
    [
        (TrainRequest, REQUEST, place)
        for place in ("", "data.", "data.split.", "data.forecast.", "model.", "model.optimizer.")
    ]
    + [(TrainResult, RESULT, place) for place in ("", "replicates.0.", "data.sample.", "timings.")]
    + [(Failure, FAILURE, place) for place in ("", "error.")],
)
def test_an_unknown_field_is_refused_wherever_it_stands(model, document, path):
    with pytest.raises(ValidationError) as caught:
        read(model, changed(document, f"{path}sede", 1))
    assert [problem["type"] for problem in caught.value.errors()] == ["extra_forbidden"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_strict_frozen_and_closed(model):
    config = model.model_config
    assert config["strict"]
    assert config["frozen"]
    assert config["extra"] == "forbid"
    assert config["allow_inf_nan"] is False


def test_every_model_of_the_module_is_a_contract():
    found = {
        value
        for value in vars(contracts).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    }
    assert found - {BaseModel} == set(MODELS)
    assert len(MODELS) > 15


@pytest.mark.parametrize(
    ("model", "document", "field"),
    [
        (TrainRequest, REQUEST, "seed"),
        (TrainResult, RESULT, "replicates"),
        (ReplicateResult, REPLICATE, "metrics"),
        (Timings, REPLICATE["timings"], "fit"),
        (Failure, FAILURE, "outcome"),
    ],
)
def test_records_cannot_be_changed(model, document, field):
    record = read(model, document)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, field, getattr(record, field))
    with pytest.raises(ValidationError, match="frozen"):
        delattr(record, field)


def test_kinds_tell_data_and_models_apart():
    def parsed(**changes):
        return read(TrainRequest, {**REQUEST, **changes})

    assert type(parsed().data) is InlineData
    assert type(parsed(data={"kind": "descriptor", "path": "a.toml"}).data) is DescriptorData
    assert type(parsed().model) is NetworkSpec
    assert type(parsed(model={"kind": "estimator", "estimator": "svm"}).model) is EstimatorSpec
    for where, value in (("data", {"path": "a.toml"}), ("model", {"estimator": "svm"})):
        with pytest.raises(ValidationError) as caught:
            parsed(**{where: value})
        assert caught.value.errors()[0]["type"] == "union_tag_not_found"


def test_inline_values_keep_their_types():
    columns = read(TrainRequest, REQUEST).data.columns
    assert columns == {"t": (1, 2, 3), "y": (0.5, None, True), "c": ("a", "ü", None)}
    assert [type(value) for value in columns["y"]] == [float, type(None), bool]
    assert [type(value) for value in columns["t"]] == [int] * 3


def test_a_request_states_its_defaults():
    least = {
        "data": {"kind": "descriptor", "path": "a.toml"},
        "model": {"kind": "network", "architecture": "linear"},
    }
    request = read(TrainRequest, least)
    assert request.schema_version == SCHEMA_VERSION == 1
    assert (request.replicates, request.seed, request.budget.rows) == (3, 0, 10_000)
    assert (request.model.patience, request.model.optimizer.epsilon) == (8, 1e-8)
    assert request.artifact_dir is None
    assert read(TrainRequest, request.model_dump(mode="json")) == request


def test_timings_add_up():
    assert read(Timings, REPLICATE["timings"]).total == 1.875


def test_every_error_leads_to_an_outcome():
    outcomes = TypeAdapter(Outcome)
    kinds = (MatrixError, RequestInvalid, DataInvalid, TrainingDiverged, Unavailable)
    found = [outcomes.validate_python(kind.outcome) for kind in kinds]
    assert found == ["error", "error", "data_invalid", "diverged", "unavailable"]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_every_metric_has_a_direction():
    lower = {"log_loss", "rmse", "mae", "mase"}
    assert {name for name, greater in GREATER_IS_BETTER.items() if not greater} == lower
