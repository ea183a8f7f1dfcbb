"""Train a population that learns its settings on the way, with Ray Tune.

Jaderberg et al. (2017), Population based training of neural networks. The only module that imports
ray.tune.
"""

from __future__ import annotations

import importlib.util
import io
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ml.core.contracts import (
    GREATER_IS_BETTER,
    Choice,
    Dimension,
    IntRange,
    NetworkSpec,
    SweepRequest,
    Trial,
)
from ml.core.errors import RequestInvalid, Unavailable
from ml.core.folds import Fold
from ml.core.learner import Adapter
from ml.core.members import Member, Setup
from ml.core.points import decode, draw_point
from ml.core.seeding import stream
from ml.core.settings import Settings
from ml.core.trial_batches import OUT_OF_TIME
from ml.core.trial_journal import TrialJournal
from ml.core.trials import TrialOutcome

# What can change in a training without changing its weights' shapes or its optimiser.
MOVABLE = (
    "dropout",
    "batch_size",
    "optimizer.learning_rate",
    "optimizer.weight_decay",
    "optimizer.momentum",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.epsilon",
)
NEEDED = ("ray", "pandas", "pyarrow", "fsspec", "requests")


def check_population(request: SweepRequest) -> None:
    """Raise RequestInvalid where a request is none for a population, Unavailable without Ray."""
    if not isinstance(request.model, NetworkSpec):
        _refuse("model.kind", "it goes on training with other settings", "'network'")
    if request.model.schedule.name != "constant":
        _refuse("model.schedule.name", "it moves the learning rate itself", "'constant'")
    for path in request.sweep.space:
        if path not in MOVABLE:
            expected = "one of " + ", ".join(MOVABLE)
            _refuse(f"sweep.space.{path}", "that cannot change in a training", expected)
    if request.sweep.folds > 1:
        _refuse("sweep.folds", "its members are one training each", "1")
    if request.sweep.trials < 4:
        _refuse("sweep.trials", "a quarter of its members take over from another", "at least 4")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"the sampler 'pbt' needs what is not installed: {', '.join(missing)}",
            field="sweep.sampler",
            remedy="pip install 'pytest-mlmatrix[sweep,ray]', or choose another sampler",
        )


def _refuse(field: str, why: str, expected: str) -> NoReturn:
    raise RequestInvalid(
        f"the sampler 'pbt' cannot tune this: {why}",
        code="no_population",
        field=field,
        expected=expected,
        remedy="choose the sampler 'tpe', or change this",
    )


def search_population(
    request: SweepRequest, adapter: Adapter, fold: Fold, declared: Settings, journal: TrialJournal
) -> list[Trial]:
    """Train a population, or return the one that the journal has; it is kept as a whole."""
    spec = request.sweep
    if len(journal.trials) == spec.trials:
        return [journal.trials[index] for index in range(spec.trials)]
    assert isinstance(request.model, NetworkSpec)
    epochs = request.model.epochs
    if spec.epochs is not None:
        epochs = max(1, min(epochs, spec.epochs // spec.trials))
    model = request.model.model_copy(update={"epochs": epochs})
    started = time.monotonic()
    members = draw_population(request, declared)
    trials = train_population(Setup(adapter, request, model, fold), members, spec.seconds)
    for trial in trials:
        journal.append(trial, time.monotonic() - started)
    return trials


def draw_population(request: SweepRequest, declared: Settings) -> list[Settings]:
    """Return the settings that the members begin with, the first one's being the declared ones."""
    draw = stream(request.seed, "sweep", "population")
    space = dict(sorted(request.sweep.space.items()))
    others = [decode(space, draw_point(draw, space)) for _ in range(request.sweep.trials - 1)]
    return [declared, *others]


def train_population(setup: Setup, members: list[Settings], seconds: float | None) -> list[Trial]:
    """Train a population in Ray processes, and return its members as trials.

    After each interval the worst quarter take over weights, moments and settings of the best,
    and change the settings. A trial's settings are its last ones. Ray is started for it, and
    ended, where it does not run already.
    """
    import ray
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    request, space = setup.request, setup.request.sweep.space
    greater = GREATER_IS_BETTER[setup.fold.metric]

    class Trainable(tune.Trainable):  # type: ignore[misc]
        """Show a member to Ray Tune; one process trains all of them, one after the other."""

        def setup(self, config: dict[str, Any], setup: Setup) -> None:
            self._parts = setup
            self._begin(config)

        def step(self) -> dict[str, Any]:
            settings = {path: one for path, one in self.config.items() if path != "index"}
            return self._member.train(settings)

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            self._member.keep(Path(checkpoint_dir))

        def load_checkpoint(self, checkpoint_dir: Any) -> None:
            self._member.take(Path(checkpoint_dir))

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.cleanup()
            self._begin(new_config)
            return True

        def cleanup(self) -> None:
            shutil.rmtree(self._home, ignore_errors=True)

        def _begin(self, config: dict[str, Any]) -> None:
            self._home = tempfile.mkdtemp(prefix="mlmatrix-member-")
            self._member = Member(self._parts, self.trial_id, config["index"], Path(self._home))

    class Diary(tune.Callback):  # type: ignore[misc]
        """Note what each member reports."""

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            # Who takes over another one's settings has its index, too, in Ray's eyes.
            names.setdefault(trial.trial_id, trial.config["index"])

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            reports[names[trial.trial_id]].append(result)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            lost.add(names[trial.trial_id])

    names: dict[str, int] = {}
    reports: dict[int, list[dict[str, Any]]] = {index: [] for index in range(len(members))}
    lost: set[int] = set()
    choices: dict[str, Any] = {
        path: tune.sample_from(lambda spec, path=path: members[spec.config.index][path])
        for path in space
    }
    scheduler = PopulationBasedTraining(
        time_attr="epochs",
        metric="value",
        mode="max" if greater else "min",
        perturbation_interval=setup.interval,
        hyperparam_mutations={path: _mutation(tune, one) for path, one in space.items()},
        custom_explore_fn=lambda config: _inside(space, config),
        log_config=False,
        synch=True,
    )
    with (
        tempfile.TemporaryDirectory(prefix="mlmatrix-population-") as folder,
        _seeded(request.seed),
        _ray(ray),
    ):
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Trainable, setup=setup), {"cpu": 1}),
            param_space={"index": tune.grid_search(list(range(len(members)))), **choices},
            tune_config=tune.TuneConfig(
                scheduler=scheduler, time_budget_s=seconds, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=folder, name="population", verbose=0, callbacks=[Diary()]
            ),
        )
        with redirect_stdout(io.StringIO()):
            tuner.fit()
    return [
        _trial(index, members[index], told, names, index in lost) for index, told in reports.items()
    ]


def _trial(
    index: int,
    drawn: Settings,
    reports: list[dict[str, Any]],
    names: Mapping[str, int],
    is_lost: bool,
) -> Trial:
    """Return a member as a trial; it failed where its last report says so."""
    last = reports[-1] if reports else {}
    steps = tuple((one["epochs"], one["value"]) for one in reports if not one["failed"])
    origins = [one["origin"] for one in reports if one["origin"]]
    taken = [f"{names[name]} after {epochs} epochs" for name, epochs in origins]
    reason = "went on from trial " + ", and from trial ".join(taken) if taken else ""
    outcome: TrialOutcome = "ok"
    if is_lost:
        outcome, reason = "crashed", "the process of Ray in which it trained ended"
    elif last.get("failed"):
        outcome, reason = last["failed"]
    elif not last.get("done"):
        outcome, reason = "timeout", OUT_OF_TIME
    return Trial(
        index=index,
        settings={path: last["config"][path] for path in drawn} if reports else drawn,
        outcome=outcome,
        reason=reason,
        value=steps[-1][1] if steps and outcome in ("ok", "timeout") else None,
        steps=steps,
        epochs=sum(one["trained"] for one in reports),
        seconds=sum(one["time_this_iter_s"] for one in reports),
    )


def _mutation(tune: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return list(dimension.values)
    if isinstance(dimension, IntRange):
        high = dimension.high + 1
        drawn = tune.lograndint if dimension.log else tune.randint
        return drawn(dimension.low, high)
    drawn = tune.loguniform if dimension.log else tune.uniform
    return drawn(dimension.low, dimension.high)


def _inside(space: Mapping[str, Dimension], config: dict[str, Any]) -> dict[str, Any]:
    """Return settings, after a step of their own, moved to the nearest that are in the space."""
    moved = dict(config)
    for path, dimension in space.items():
        value = moved[path]
        if isinstance(dimension, Choice):
            continue
        value = min(max(value, dimension.low), dimension.high)
        if isinstance(dimension, IntRange):
            value = dimension.low + round((value - dimension.low) / dimension.step) * dimension.step
            value = min(value, dimension.high - (dimension.high - dimension.low) % dimension.step)
        moved[path] = int(value) if isinstance(dimension, IntRange) else float(value)
    return moved


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, from which Ray Tune draws, and give them back as they were."""
    before, numpy_before = random.getstate(), np.random.get_state()
    drawn = int(stream(seed, "sweep", "explore").integers(2**32))
    random.seed(drawn)
    np.random.seed(drawn)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


@contextmanager
def _ray(ray: Any) -> Iterator[None]:
    """Run a Ray of our own meanwhile, where none runs in this process."""
    kept = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=100 * 2**20,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
            )
        yield
    finally:
        if ours:
            ray.shutdown()
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# Ray sends nothing home, writes no logs of its own, and does not touch the process' signals.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
