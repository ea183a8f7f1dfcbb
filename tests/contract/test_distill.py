"""Distil through every entry point: what a student promises, and how what cannot be is refused."""

import copy
import itertools
import json

import numpy as np
import pytest
from entry_points import entry_point_or_skip

pytest.register_assert_rewrite("learner_checks")

from learner_checks import (  # noqa: E402 - rewriting comes first
    BINARY,
    THREE,
    VALUE,
    fit,
    make_draws,
    make_part,
    weights_of,
)
from test_handlers import good_payload  # noqa: E402
from test_learners import NEURAL, PROBLEMS, adapter_of  # noqa: E402

from harness.catalog.datasets import OWN_FOLDER  # noqa: E402
from ml.artifacts.arrays import load_arrays  # noqa: E402
from ml.core.contracts import (  # noqa: E402
    DistillRequest,
    NetworkSpec,
    OptimizerSpec,
    TrainResult,
    parse_response,
)
from ml.core.learner import Distillation, Part, Problem  # noqa: E402
from ml.core.networks import encode_student_targets, initial_weights  # noqa: E402
from ml.core.objective import mean_loss, objective  # noqa: E402
from ml.registry import ENTRY_POINTS, PEERS, entry_point  # noqa: E402
from ml.worker import serve  # noqa: E402

pytestmark = pytest.mark.contract

RULE = Distillation(temperature=3.0, soft_share=0.6)
BOOSTING = {
    "framework": "sklearn",
    "model": {"kind": "estimator", "estimator": "hist_gradient_boosting"},
    "preprocessing": {"encoding": "ordinal", "scale": False},
}
FOREST = {
    "framework": "sklearn",
    "model": {"kind": "estimator", "estimator": "random_forest", "params": {"n_estimators": 20}},
}
WIDE = {
    "framework": "pytorch",
    "model": {"kind": "network", "architecture": "mlp", "hidden": [32], "epochs": 20},
}


def distill(framework, payload):
    return entry_point_or_skip(framework).handle_distill_request(payload)


def payload_of(framework, task="classification", **changes):
    return {**good_payload(framework, task), "teachers": [BOOSTING], **changes}


def result_of(framework, payload):
    answer = distill(framework, payload)
    result = parse_response(json.dumps(answer, allow_nan=False))
    assert isinstance(result, TrainResult), answer
    return result


def taught(problem, rows, seed=0, rule=RULE):
    """Return a problem as a student has it, and rows with a teacher's outputs."""
    part = make_part(problem, rows, seed)
    rng = np.random.default_rng([7, rows, seed])
    soft = rng.normal(size=rows)
    if problem.classes:
        soft = rng.dirichlet(np.ones(problem.classes), rows)
    pupil = Problem(problem.inputs, problem.classes, rule)
    return pupil, Part(part.features, part.target, soft)


def test_the_frameworks_that_train_students_are_those_that_say_so():
    assert PEERS.students == tuple(
        framework for framework in ENTRY_POINTS if adapter_of(framework).trains_students
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", PROBLEMS)
def test_frameworks_teach_alike(loss, optimizer):
    pupil, train = taught(PROBLEMS[loss], 80)
    _, validation = taught(PROBLEMS[loss], 20, seed=1)
    spec = NetworkSpec(
        architecture="mlp",
        hidden=(16, 8),
        optimizer=OptimizerSpec(name=optimizer, learning_rate=1e-2),
        batch_size=8,
        epochs=1,
        patience=0,
    )
    found = []
    for framework in NEURAL:
        learner, report = fit(adapter_of(framework), spec, pupil, train, validation)
        assert report.updates == 10
        found.append((weights_of(learner), report.history))
    for one, other in itertools.combinations(found, 2):
        for mine, theirs in zip(one[0], other[0], strict=True):
            assert np.abs(mine - theirs).max() < 1e-5
        assert other[1].train == pytest.approx(one[1].train, rel=1e-5)
        assert other[1].validation == pytest.approx(one[1].validation, rel=1e-5)


@pytest.mark.parametrize("loss", PROBLEMS)
@pytest.mark.parametrize("framework", NEURAL)
def test_an_update_follows_the_finite_differences_of_the_objective(framework, loss):
    pupil, train = taught(PROBLEMS[loss], 12)
    rate = 0.5
    spec = NetworkSpec(
        architecture="linear",
        optimizer=OptimizerSpec(name="sgd", learning_rate=rate),
        batch_size=12,
        epochs=1,
    )
    start = [w.astype(np.float64) for w in initial_weights(spec, pupil, make_draws().weights)]
    targets = encode_student_targets(pupil, RULE, train.target, train.soft).astype(np.float64)
    rows = train.features.astype(np.float64)

    def value(weights):
        return objective(pupil, mean_loss, rows @ weights[0] + weights[1], targets)

    learner, report = fit(adapter_of(framework), spec, pupil, train)
    assert report.history.train[0] == pytest.approx(value(start), rel=1e-5)
    for layer, found in enumerate(weights_of(learner)):
        for place in np.ndindex(found.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = copy.deepcopy(start)
                moved[layer][place] += step
                sides.append(value(moved))
            slope = (sides[0] - sides[1]) / 2e-5
            assert (start[layer][place] - found[place]) / rate == pytest.approx(slope, abs=2e-5)


@pytest.mark.parametrize("problem", [BINARY, THREE, VALUE], ids=PROBLEMS)
@pytest.mark.parametrize("framework", NEURAL)
def test_a_teacher_without_weight_changes_no_bit(framework, problem):
    adapter = adapter_of(framework)
    spec = NetworkSpec(architecture="mlp", hidden=(8,), epochs=6, batch_size=16, patience=2)
    pupil, train = taught(problem, 60, rule=Distillation(2.0, 0.0))
    _, validation = taught(problem, 20, seed=1)
    mine, report = fit(adapter, spec, pupil, train, validation)
    plain, plain_report = fit(
        adapter,
        spec,
        problem,
        *(Part(part.features, part.target) for part in (train, validation)),
    )
    assert [w.tobytes() for w in weights_of(mine)] == [w.tobytes() for w in weights_of(plain)]
    assert report == plain_report


@pytest.mark.parametrize("framework", NEURAL)
def test_a_request_whose_teacher_has_no_weight_is_a_training(framework, tmp_path):
    payload = payload_of(framework, soft_share=0.0, artifact_dir=str(tmp_path / "student"))
    student = distill(framework, payload)
    plain = good_payload(framework, artifact_dir=str(tmp_path / "plain"))
    trained = entry_point(framework).handle_train_request(plain)
    for one, other in zip(student["replicates"], trained["replicates"], strict=True):
        assert {**one, "timings": 0} == {**other, "timings": 0}
    one, other = (
        load_arrays((tmp_path / name / "model.safetensors").read_bytes())
        for name in ("student", "plain")
    )
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}
    assert trained["distillation"] is None
    manifests = [
        json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("student", "plain")
    ]
    named = [[teacher["framework"] for teacher in manifest["teachers"]] for manifest in manifests]
    assert named == [[teacher["framework"] for teacher in payload["teachers"]], []]


@pytest.mark.parametrize("framework", NEURAL)
def test_a_student_of_a_strong_teacher_is_good_small_and_like_it(framework):
    payload = {
        "data": {"kind": "descriptor", "path": str(OWN_FOLDER / "wine.toml")},
        "model": {
            "kind": "network",
            "architecture": "mlp",
            "hidden": [16],
            "optimizer": {"learning_rate": 0.01},
            "batch_size": 32,
        },
        "teachers": [BOOSTING],
        "replicates": 2,
        "seed": 5,
    }
    result = result_of(framework, payload)
    metric, info = result.metric, result.distillation
    changes = []
    for replicate, teacher in zip(result.replicates, info.teacher_metrics, strict=True):
        assert replicate.baseline[metric] + 0.3 < replicate.metrics[metric]
        assert replicate.baseline[metric] + 0.3 < teacher[metric]
        changes.append(replicate.metrics[metric] - teacher[metric])
    assert info.metric_change == pytest.approx(np.mean(changes))
    assert info.agreement > 0.9
    assert info.teacher_artifact_bytes > 10 * result.artifact_bytes
    assert info.size_reduction_percent == pytest.approx(
        100 - 100 * result.artifact_bytes / info.teacher_artifact_bytes
    )
    assert info.speed_up == pytest.approx(info.teacher_latency / info.student_latency)
    assert result.versions.keys() >= {"numpy", "scikit-learn"}
    assert len(result.versions) == 3


def test_a_student_learns_from_its_teacher_alone():
    # The targets say nothing here: a constant teacher's student is constant, too.
    payload = payload_of("pytorch", soft_share=1.0)
    payload["teachers"] = [{"framework": "sklearn", "model": dummy()}]
    result = result_of("pytorch", payload)
    assert all(
        abs(r.metrics["log_loss"] - r.baseline["log_loss"]) < 0.05 for r in result.replicates
    )
    assert result.distillation.teacher_parameters == 0


def dummy(**params):
    return {"kind": "estimator", "estimator": "dummy", "params": params}


@pytest.mark.parametrize(
    ("teacher", "student"),
    [*(("sklearn", name) for name in NEURAL), *zip(NEURAL, (*NEURAL[1:], NEURAL[0]), strict=True)],
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_framework_teaches_a_network_of_another(student, teacher, task):
    model = {**WIDE, "framework": teacher} if teacher in NEURAL else FOREST
    adapter_of(teacher)
    payload = payload_of(student, task, teachers=[model], replicates=1)
    result = result_of(student, payload)
    info = result.distillation
    assert (result.framework, len(info.teacher_metrics)) == (student, 1)
    assert info.agreement > 0.6
    assert info.teacher_fit > 0
    widths = (5, 32, 1)
    expected = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert info.teacher_parameters == (expected if teacher in NEURAL else 0)
    for name, value in result.replicates[0].metrics.items():
        assert np.isfinite([value, info.teacher_metrics[0][name]]).all()


def test_several_teachers_are_one_by_their_mean():
    constants = [
        {"framework": "sklearn", "model": dummy(strategy="constant", constant=value)}
        for value in (-1.0, 0.5, 2.0)
    ]

    def teacher(*which):
        chosen = [constants[index] for index in which]
        payload = payload_of("pytorch", "regression", teachers=chosen, soft_share=1.0)
        return result_of("pytorch", payload)

    mean, middle = teacher(0, 2), teacher(1)
    one, other = (found.distillation.teacher_metrics for found in (mean, middle))
    assert [m["rmse"] for m in one] == pytest.approx([m["rmse"] for m in other], rel=1e-9)
    for mine, theirs in zip(mean.replicates, middle.replicates, strict=True):
        assert mine.metrics == pytest.approx(theirs.metrics, rel=1e-6)
    assert teacher(0).distillation.teacher_metrics[0]["rmse"] != pytest.approx(one[0]["rmse"])
    # Constant teachers have no spread that a student could explain.
    assert mean.distillation.agreement is None


def test_equal_teachers_are_drawn_apart_and_the_ensemble_adds_up():
    alone, pair = (
        result_of("pytorch", payload_of("pytorch", teachers=[FOREST] * count)) for count in (1, 2)
    )
    assert pair.distillation.teacher_metrics != alone.distillation.teacher_metrics
    ratio = pair.distillation.teacher_artifact_bytes / alone.distillation.teacher_artifact_bytes
    assert 1.5 < ratio < 2.5


@pytest.mark.parametrize("framework", NEURAL)
def test_equal_requests_give_equal_answers(framework):
    payload = payload_of(framework, teachers=[BOOSTING, WIDE])

    def essence():
        answer = distill(framework, payload)
        info = answer["distillation"]
        kept = [{**replicate, "timings": 0} for replicate in answer["replicates"]]
        return kept, info["teacher_metrics"], info["agreement"], info["metric_change"]

    first = essence()
    distill(framework, payload_of(framework, "regression", seed=9))
    assert essence() == first


def test_a_request_comes_back_from_json():
    payload = payload_of("pytorch", temperature=4.0)
    request = DistillRequest.model_validate_json(json.dumps(payload))
    assert (request.temperature, request.soft_share) == (4.0, 0.7)
    assert request.teachers[0].preprocessing.encoding == "ordinal"
    assert DistillRequest.model_validate_json(request.model_dump_json()) == request
    answer = distill("pytorch", payload)
    result = parse_response(json.dumps(answer))
    assert json.loads(result.model_dump_json()) == answer
    served = json.loads(serve("pytorch", "distill", json.dumps(payload)))
    assert served["distillation"]["teacher_metrics"] == answer["distillation"]["teacher_metrics"]
    assert served["replicates"][1]["metrics"] == answer["replicates"][1]["metrics"]
