"""Climb the ladder of parity: what each framework computes, from the first pass to 100 updates."""

import warnings
from functools import partial

import numpy as np
import pytest

from ml.core.architectures import Pass, declare, forward
from ml.core.contracts import NetworkSpec, OptimizerSpec, RuntimeSpec, ScheduleSpec
from ml.core.learner import Distillation, Part, Problem
from ml.core.networks import NetworkLearner, initial_weights
from ml.core.objective import objective
from ml.core.ops import NUMPY, row_loss, step_keys
from ml.core.parity import SKETCH_SIZE, make_trace, sketch
from ml.core.splits import Split
from ml.registry import PEERS, adapter_of

pytest.register_assert_rewrite("learner_checks")

from learner_checks import make_draws  # noqa: E402 - rewriting comes first

pytestmark = pytest.mark.contract

INPUTS, ROWS, BATCH, EPOCHS = 9, 75, 16, 25
WINDOW = (5, 4, 3, 2)
CLASSES = {"binary": 2, "softmax": 3, "squared": 0}
LIMITS = {
    "forward": 1e-6,
    "loss_1": 1e-6,
    "gradient_1": 1e-5,
    "weights_1": 1e-5,
    "weights_10": 1e-5,
    "weights_100": 1e-5,
}
ADAM = OptimizerSpec(learning_rate=1e-2)
ADAMW = OptimizerSpec(name="adamw", learning_rate=1e-2, weight_decay=0.05)
SGD = OptimizerSpec(name="sgd", learning_rate=5e-2)
MOMENTUM = SGD.model_copy(update={"momentum": 0.9, "weight_decay": 1e-3})
TRANSFORMER = {"architecture": "transformer", "hidden": (12,), "width": 8, "heads": 2}


def network(optimizer, architecture="mlp", schedule=None, **changes):
    values = {"architecture": architecture, "hidden": (8, 6), "width": 10, **changes}
    return NetworkSpec(
        **values,
        optimizer=optimizer,
        schedule=ScheduleSpec(**(schedule or {})),
        epochs=EPOCHS,
        batch_size=BATCH,
        patience=0,
    )


# Every architecture, activation, optimiser, loss, norm and schedule stands here at least once,
# mixed so that few cases, and so few compilations, cover them all.
CASES = {
    "linear": ("binary", network(SGD, "linear")),
    "linear_weighted": ("softmax", network(ADAM, "linear", class_weight="balanced")),
    "mlp_relu": ("squared", network(ADAM)),
    "mlp_tanh": (
        "binary",
        network(ADAMW, activation="tanh", schedule={"name": "cosine", "warmup": 1.5}),
    ),
    "mlp_sigmoid": (
        "softmax",
        network(MOMENTUM, activation="sigmoid", schedule={"name": "step", "every": 2}),
    ),
    "mlp_silu": (
        "binary",
        network(
            ADAM,
            activation="silu",
            norm="layer",
            dropout=0.2,
            class_weight="balanced",
            schedule={"name": "exponential"},
        ),
    ),
    "mlp_gelu": (
        "squared",
        network(ADAMW, activation="gelu", norm="batch", schedule={"name": "linear"}),
    ),
    "resnet": ("softmax", network(ADAMW, "resnet", norm="batch", dropout=0.1)),
    "resnet_layer": ("binary", network(MOMENTUM, "resnet", norm="layer", activation="gelu")),
    "cnn": ("softmax", network(ADAM, "cnn", hidden=(4, 3), norm="batch", kernel_size=4)),
    "cnn_window": ("squared", network(ADAM, "cnn", hidden=(4,), activation="tanh", dropout=0.1)),
    "gru": ("squared", network(ADAM, "rnn", hidden=(7,))),
    "lstm": ("binary", network(ADAMW, "rnn", cell="lstm", norm="layer", dropout=0.1)),
    "transformer": ("squared", network(ADAM, **TRANSFORMER, norm="layer", dropout=0.1)),
    "transformer_grouped": (
        "binary",
        network(SGD, **TRANSFORMER, tokens=4, norm="batch", activation="silu"),
    ),
    "student": ("softmax", network(ADAM, hidden=(6,))),
    "student_of_values": ("squared", network(ADAM, "linear")),
}


def problem_of(name):
    loss, spec = CASES[name]
    windowed = spec.architecture == "rnn" or name == "cnn_window"
    return Problem(
        INPUTS,
        CLASSES[loss],
        Distillation(3.0, 0.6) if name.startswith("student") else None,
        WINDOW if windowed else (),
    )


def make_part(problem, rows=ROWS, seed=0, norm="none"):
    """Draw rows; two columns are constant and one is nearly so, as real tables have them.

    Not before a batch norm: it takes away what is constant in a batch, so that the gradient of
    its weights is rounding noise, which Adam blows up to whole steps in any direction.
    """
    rng = np.random.default_rng([seed, problem.classes])
    features = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    features[:, 6] = 0.0
    features[:, 7] = 1.0 if norm != "batch" else features[:, 7]
    features[:, 8] = rng.random(rows) < 0.03
    signal = features[:, 0] - features[:, 1] * features[:, 2] + 0.3 * rng.normal(size=rows)
    target = signal.astype(np.float32)
    if problem.classes:
        # The first class is the rarest, so that balanced weights differ.
        edges = np.quantile(signal, [0.2, 0.6][: problem.classes - 1])
        target = np.digitize(signal, edges).astype(np.int64)
    soft = None
    if problem.distillation:
        soft = rng.dirichlet(np.ones(problem.classes), rows) if problem.classes else signal + 0.5
    return Part(features, target, soft)


def relative(mine, reference):
    return np.linalg.norm(mine.astype(np.float64) - reference) / np.linalg.norm(reference)


def reference_of(spec, problem, part):
    """Return the forward pass of the first rows and the first batch's loss, by numpy in float64."""
    draws = make_draws()
    learner = NetworkLearner(spec, problem, None)
    weights = [array.astype(np.float64) for array in initial_weights(spec, problem, draws.weights)]
    batch = draws.order.permutation(part.rows)[:BATCH]
    key = step_keys(int(draws.estimator.integers(2**63)), 0, 1)[0]
    features = part.features.astype(np.float64)
    outputs = forward(Pass(NUMPY, spec, weights), problem, features[:64])
    run = Pass(NUMPY, spec, weights, training=True, key=key)
    examples = learner.start(part, None, make_draws()).train
    raw = forward(run, problem, features[batch])
    losses = objective(
        problem, partial(row_loss, NUMPY), raw, examples.targets[batch].astype(np.float64)
    )
    shares = 1.0 if examples.weights is None else examples.weights[batch]
    return outputs, float(np.mean(losses * shares)), batch


@pytest.mark.parametrize("name", CASES)
def test_frameworks_climb_the_same_ladder(name, record_property):
    spec, problem = CASES[name][1], problem_of(name)
    part, held = (make_part(problem, n, seed, spec.norm) for n, seed in ((ROWS, 0), (30, 1)))
    outputs, loss, batch = reference_of(spec, problem, part)
    found = {}
    for framework in PEERS.students:
        adapter = adapter_of(framework)
        adapter.prepare(RuntimeSpec())
        rungs = adapter.make_learner(spec, problem).trace(part, make_draws())
        assert relative(rungs["forward"], outputs) < LIMITS["forward"]
        assert rungs["loss_1"][0] == pytest.approx(loss, rel=LIMITS["loss_1"])
        assert rungs["rows"][:BATCH].tolist() == batch.tolist()
        moved = relative(rungs["weights_100"], rungs["weights_1"].astype(np.float64))
        assert moved > 1e-2
        learner = adapter.make_learner(spec.model_copy(update={"epochs": 3}), problem)
        report = learner.fit(part, held, make_draws(), 60.0)
        rungs["history"] = np.array([*report.history.train, *report.history.validation])
        rungs["predictions"] = learner.predict(held.features)
        found[framework] = rungs
    reference = found.pop("pytorch")
    for framework, rungs in found.items():
        assert rungs["rows"].tolist() == reference["rows"].tolist()
        ladder = {rung: float(relative(rungs[rung], reference[rung])) for rung in reference}
        record_property(f"pytorch-{framework}", ladder)
        beyond = {rung: far for rung, far in ladder.items() if far > LIMITS.get(rung, 1e-5)}
        assert not beyond, ladder


def test_an_epoch_compiled_by_xla_climbs_the_ladder_of_the_graph():
    spec, problem = CASES["resnet"][1], problem_of("resnet")
    part = make_part(problem, norm=spec.norm)
    adapter = adapter_of("tensorflow")
    climbed = []
    for compilation in ("always", "never"):
        adapter.prepare(RuntimeSpec(compilation=compilation))
        climbed.append(adapter.make_learner(spec, problem).trace(part, make_draws()))
    adapter.prepare(RuntimeSpec())
    compiled, graph = climbed
    assert compiled["rows"].tolist() == graph["rows"].tolist()
    for rung, limit in LIMITS.items():
        assert relative(compiled[rung], graph[rung].astype(np.float64)) < limit
    # It rounds otherwise, which shows that it was compiled.
    assert compiled["weights_100"].tobytes() != graph["weights_100"].tobytes()


def test_the_cases_cover_what_a_network_can_be():
    specs = [spec for _, spec in CASES.values()]

    def values(field):
        return set(NetworkSpec.model_fields[field].annotation.__args__)

    for field in ("architecture", "activation", "norm", "cell", "class_weight"):
        assert {getattr(spec, field) for spec in specs} == values(field)
    for part, kind in (("optimizer", OptimizerSpec), ("schedule", ScheduleSpec)):
        names = set(kind.model_fields["name"].annotation.__args__)
        assert {getattr(spec, part).name for spec in specs} == names
    assert {loss for loss, _ in CASES.values()} == set(CLASSES)


def batches_of(rungs):
    """Return the rows of each update of a trace; every epoch ends with a smaller batch."""
    epochs = np.split(rungs["rows"], range(ROWS, len(rungs["rows"]), ROWS))
    return [epoch[at : at + BATCH] for epoch in epochs for at in range(0, len(epoch), BATCH)]


SKLEARN_MLPS = {
    "sgd": (
        OptimizerSpec(name="sgd", learning_rate=0.05, momentum=0.9),
        {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.9, "nesterovs_momentum": False},
    ),
    # It adds epsilon before the correction of the second moment; so small, it plays no part.
    "adam": (
        OptimizerSpec(learning_rate=0.01, epsilon=1e-30),
        {"solver": "adam", "learning_rate_init": 0.01, "epsilon": 1e-30},
    ),
}


@pytest.mark.parametrize("optimizer", SKLEARN_MLPS)
@pytest.mark.parametrize(
    ("loss", "activation"), [("binary", "relu"), ("softmax", "tanh"), ("squared", "sigmoid")]
)
def test_the_mlp_of_scikit_learn_climbs_it_too(loss, activation, optimizer):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    ours, theirs = SKLEARN_MLPS[optimizer]
    spec = network(ours, activation=activation)
    problem = Problem(INPUTS, CLASSES[loss])
    part = make_part(problem)
    # A feature without any value has no gradient, and with no epsilon Adam divides 0 by 0.
    part.features[:, 6] = 0.5
    adapter = adapter_of("pytorch")
    adapter.prepare(RuntimeSpec())
    rungs = adapter.make_learner(spec, problem).trace(part, make_draws())
    kind = MLPRegressor if loss == "squared" else MLPClassifier
    model = kind(
        hidden_layer_sizes=spec.hidden,
        activation="logistic" if activation == "sigmoid" else activation,
        alpha=0.0,
        shuffle=False,
        batch_size=BATCH,
        **theirs,
    )
    target = part.target.astype(np.float32) if loss == "squared" else part.target
    known = {} if loss == "squared" else {"classes": np.arange(problem.classes)}
    model.partial_fit(part.features[:BATCH], target[:BATCH], **known)
    # That made it ready; now it starts again from our weights.
    del model._optimizer
    weights = initial_weights(spec, problem, make_draws().weights)
    for place, array in enumerate(weights):
        (model.coefs_ if place % 2 == 0 else model.intercepts_)[place // 2][...] = array
    for update, batch in enumerate(batches_of(rungs), 1):
        with warnings.catch_warnings():
            # It says of a batch smaller than batch_size that it takes all of it.
            warnings.filterwarnings("ignore", message="Got `batch_size`")
            model.partial_fit(part.features[batch], target[batch])
        if update == 1:
            assert model.loss_ == pytest.approx(float(rungs["loss_1"][0]), rel=LIMITS["loss_1"])
        if f"weights_{update}" in rungs:
            pairs = zip(model.coefs_, model.intercepts_, strict=True)
            flat = np.concatenate([array.ravel() for pair in pairs for array in pair])
            assert relative(rungs[f"weights_{update}"], flat) < LIMITS[f"weights_{update}"]
    assert update == 100


@pytest.mark.parametrize("loss", ["binary", "squared"])
def test_the_linear_models_of_scikit_learn_climb_it_too(loss):
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    problem = Problem(INPUTS, CLASSES[loss])
    spec = network(SGD, "linear").model_copy(update={"batch_size": 1})
    part = make_part(problem)
    adapter = adapter_of("pytorch")
    adapter.prepare(RuntimeSpec())
    rungs = adapter.make_learner(spec, problem).trace(part, make_draws())
    kernel, bias = initial_weights(spec, problem, make_draws().weights)
    steady = {
        "penalty": None,
        "learning_rate": "constant",
        "eta0": SGD.learning_rate,
        "shuffle": False,
        "max_iter": 1,
        "tol": None,
    }
    for updates in (1, 10, 100):
        # It refuses rows of one class, so it starts with two rows that weigh nothing.
        rows = np.concatenate([[part.target.argmin(), part.target.argmax()], rungs["rows"]])
        rows = rows[: updates + 2]
        weights = np.ones(len(rows))
        weights[:2] = 0.0
        model = SGDClassifier(loss="log_loss", **steady) if loss == "binary" else None
        model = model or SGDRegressor(loss="squared_error", **steady)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Maximum number of iteration reached")
            model.fit(
                part.features[rows].astype(np.float64),
                part.target[rows],
                coef_init=kernel.T.astype(np.float64) if loss == "binary" else kernel[:, 0],
                intercept_init=bias,
                sample_weight=weights,
            )
        flat = np.concatenate([np.ravel(model.coef_), model.intercept_])
        assert relative(rungs[f"weights_{updates}"], flat) < 1e-5


def test_weights_that_are_trained_are_told_apart_from_statistics():
    declared = declare(CASES["mlp_gelu"][1], problem_of("mlp_gelu"))
    assert [weight.trained for weight in declared[:5]] == [True, True, True, False, False]
    # A batch norm takes a bias away again, so there is none before it.
    assert [weight.shape for weight in declared[:5]] == [(9, 8), (8,), (8,), (8,), (8,)]


def test_a_sketch_keeps_few_numbers_and_the_distance_of_many():
    rng = np.random.default_rng(0)
    few = rng.normal(size=SKETCH_SIZE)
    assert sketch(few).tolist() == few.tolist()
    many = rng.normal(size=(400, 50))
    near = many + 1e-4 * rng.normal(size=many.shape)
    assert sketch(many).shape == (SKETCH_SIZE,)
    assert relative(sketch(near), sketch(many)) == pytest.approx(1e-4, rel=0.5)


def test_a_trace_ends_before_what_is_not_finite_and_knows_its_rows():
    rows = np.arange(5)
    part = np.zeros(3, np.int64)
    split = Split(train=part, validation=part, test=part)
    rungs = {"forward": np.ones(2), "loss_1": np.array([np.inf]), "weights_1": np.ones(2)}
    trace = make_trace({**rungs, "rows": rows}, split)
    assert trace.rungs == {"forward": (1.0, 1.0)}
    assert trace.sizes == {"forward": 2}
    assert make_trace({**rungs, "rows": rows}, split).rows_sha256 == trace.rows_sha256
    assert make_trace({**rungs, "rows": rows[::-1]}, split).rows_sha256 != trace.rows_sha256
