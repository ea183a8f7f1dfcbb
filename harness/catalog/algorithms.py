"""List the algorithms: what each trains, in which framework, for which tasks and modes."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.catalog import spaces
from harness.cell import Resources
from ml.core.contracts import (
    EstimatorSpec,
    Framework,
    ImportedSpec,
    Mode,
    NetworkSpec,
    OptimizerSpec,
    PreprocessingSpec,
    ScheduleSpec,
    SearchSpace,
    Task,
    TeacherSpec,
)
from ml.core.descriptor import ExpectedFailure

TASKS: tuple[Task, ...] = ("classification", "regression", "forecasting")
ORDINAL = PreprocessingSpec(encoding="ordinal", scale=False)


@dataclass(frozen=True)
class Algorithm:
    """Declare one algorithm of one framework; ``rows`` caps it below the general budget.

    The mode ``distill`` needs ``teachers``; the model is then their student. With a ``space``
    there is the mode ``sweep``, too.
    """

    id: str
    framework: Framework
    model: NetworkSpec | EstimatorSpec | ImportedSpec
    preprocessing: PreprocessingSpec = field(default_factory=PreprocessingSpec)
    tasks: tuple[Task, ...] = TASKS
    modes: tuple[Mode, ...] = ("train",)
    rows: int | None = None
    is_baseline: bool = False
    teachers: tuple[TeacherSpec, ...] = ()
    expected_failures: tuple[ExpectedFailure, ...] = ()
    resources: Resources = field(default_factory=Resources)
    space: SearchSpace | None = None

    @property
    def all_modes(self) -> tuple[Mode, ...]:
        """Return its modes, the sweep after those that a marker without a mode asks for."""
        return (*self.modes, "sweep") if self.space else self.modes


ACCELERATED = Resources(gpus=1)
NEURAL: tuple[Framework, ...] = ("pytorch", "tensorflow", "jax")
NETWORKS: dict[str, NetworkSpec] = {
    "linear": NetworkSpec(
        architecture="linear", optimizer=OptimizerSpec(learning_rate=1e-2), batch_size=64
    ),
    "mlp": NetworkSpec(
        architecture="mlp",
        hidden=(64, 32),
        optimizer=OptimizerSpec(learning_rate=2e-3),
        batch_size=64,
    ),
    "resnet": NetworkSpec(
        architecture="resnet",
        hidden=(48,),
        width=32,
        norm="layer",
        dropout=0.1,
        optimizer=OptimizerSpec(name="adamw", learning_rate=3e-3, weight_decay=1e-2),
        schedule=ScheduleSpec(name="cosine", warmup=1),
        epochs=30,
        batch_size=64,
    ),
    "cnn": NetworkSpec(
        architecture="cnn",
        hidden=(8, 8),
        optimizer=OptimizerSpec(learning_rate=2e-3),
        epochs=30,
        batch_size=64,
    ),
    "transformer": NetworkSpec(
        architecture="transformer",
        hidden=(32,),
        width=16,
        heads=2,
        tokens=12,
        norm="layer",
        activation="gelu",
        optimizer=OptimizerSpec(name="adamw", learning_rate=5e-3, weight_decay=1e-3),
        schedule=ScheduleSpec(name="cosine", warmup=1),
        epochs=20,
        batch_size=64,
    ),
    "gru": NetworkSpec(
        architecture="rnn",
        hidden=(16,),
        optimizer=OptimizerSpec(learning_rate=5e-3),
        epochs=30,
        batch_size=64,
    ),
    "lstm": NetworkSpec(
        architecture="rnn",
        cell="lstm",
        hidden=(16,),
        optimizer=OptimizerSpec(learning_rate=5e-3),
        epochs=30,
        batch_size=64,
    ),
}
# Residual blocks and feature tokens are made for tables, recurrence for windows.
TABULAR: tuple[Task, ...] = ("classification", "regression")
NETWORK_TASKS: dict[str, tuple[Task, ...]] = {
    "resnet": TABULAR,
    "transformer": TABULAR,
    "gru": ("forecasting",),
    "lstm": ("forecasting",),
}
# These cost many times what an mlp does, so they see fewer rows.
ROWS: dict[str, int] = {"resnet": 3_000, "cnn": 5_000, "transformer": 3_000}
# One feature a column, so that neighbours are columns and tokens are few.
RANKED = PreprocessingSpec(encoding="ordinal")
NETWORK_PREPROCESSING = {"cnn": RANKED, "transformer": RANKED}

BOOSTING = EstimatorSpec(estimator="hist_gradient_boosting", params={"max_iter": 60})
FOREST = EstimatorSpec(
    estimator="random_forest", params={"n_estimators": 60, "min_samples_leaf": 2}
)
STUDENT = NETWORKS["mlp"].model_copy(update={"hidden": (16,)})
TEACHERS: tuple[TeacherSpec, ...] = tuple(
    TeacherSpec(framework="sklearn", model=model, preprocessing=ORDINAL)
    for model in (BOOSTING, FOREST)
)

ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm("dummy", "sklearn", EstimatorSpec(estimator="dummy"), ORDINAL, is_baseline=True),
    Algorithm(
        "linear",
        "sklearn",
        EstimatorSpec(estimator="linear"),
        tasks=("classification",),
        space=spaces.LINEAR_CLASSIFIER,
    ),
    Algorithm(
        "linear",
        "sklearn",
        EstimatorSpec(estimator="linear"),
        tasks=("regression", "forecasting"),
        space=spaces.LINEAR_REGRESSOR,
    ),
    Algorithm("random_forest", "sklearn", FOREST, ORDINAL, rows=5_000, space=spaces.FOREST_SPACE),
    Algorithm("hist_gradient_boosting", "sklearn", BOOSTING, ORDINAL, space=spaces.BOOSTING_SPACE),
    Algorithm(
        "k_nearest_neighbors",
        "sklearn",
        EstimatorSpec(estimator="k_nearest_neighbors", params={"n_neighbors": 15}),
        rows=5_000,
        space=spaces.NEIGHBORS_SPACE,
    ),
    Algorithm("svm", "sklearn", EstimatorSpec(estimator="svm"), rows=3_000, space=spaces.SVM_SPACE),
    Algorithm(
        "mlp",
        "sklearn",
        EstimatorSpec(
            estimator="mlp",
            params={
                "hidden_layer_sizes": (64, 32),
                "learning_rate_init": 3e-3,
                "max_iter": 150,
                "early_stopping": True,
                "n_iter_no_change": 25,
            },
        ),
        space=spaces.ESTIMATOR_MLP_SPACE,
    ),
    *(
        Algorithm(
            name,
            framework,
            network,
            NETWORK_PREPROCESSING.get(name, PreprocessingSpec()),
            tasks=NETWORK_TASKS.get(name, TASKS),
            rows=ROWS.get(name),
            resources=ACCELERATED,
            space=spaces.NETWORK_SPACES[name],
        )
        for framework in NEURAL
        for name, network in NETWORKS.items()
    ),
    *(
        Algorithm(
            "student",
            framework,
            STUDENT,
            modes=("distill",),
            teachers=TEACHERS[:1],
            resources=ACCELERATED,
        )
        for framework in NEURAL
    ),
    Algorithm(
        "student_of_two",
        "pytorch",
        STUDENT,
        modes=("distill",),
        teachers=TEACHERS,
        resources=ACCELERATED,
    ),
)
