"""Search an MLP's hyperparameters as users would without us: Optuna with skorch, and Ray Tune.

Both take the prepared arrays, so that loading and preparing the table are at no cost of theirs,
search the same space with the same number of trials under asynchronous successive halving, and
stop when the budget of epochs is spent. Each trial's epochs go on from where they were.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ml.core.metrics import score_classification


@dataclass(frozen=True)
class Task:
    """Hold the arrays of one split, and the limits that every search keeps."""

    features: np.ndarray
    labels: np.ndarray
    validation_features: np.ndarray
    validation_labels: np.ndarray
    metric: str
    trials: int
    most_epochs: int
    least_epochs: int
    reduction: int
    epochs: int
    seed: int

    def score(self, positive: np.ndarray) -> float:
        """Return the metric of predicted probabilities of the positive class."""
        probabilities = np.stack([1 - positive, positive], axis=1)
        values = score_classification(self.validation_labels, probabilities, 2).values
        return float(values[self.metric])


@dataclass
class Course:
    """Follow a search: the best score so far after so many seconds, and the epochs spent."""

    started: float = field(default_factory=time.perf_counter)
    points: list[tuple[float, float]] = field(default_factory=list)
    epochs: int = 0
    trials: int = 0

    def see(self, score: float) -> None:
        """Take a score that a trial has reached now."""
        best = max(score, self.points[-1][1]) if self.points else score
        self.points.append((time.perf_counter() - self.started, best))

    @property
    def seconds(self) -> float:
        """Return the seconds until the last score."""
        return self.points[-1][0]

    @property
    def best(self) -> float:
        """Return the best score."""
        return self.points[-1][1]

    def reach(self, score: float) -> float:
        """Return after how many seconds this score was reached, infinity where it never was."""
        return next((at for at, best in self.points if best >= score), math.inf)


LEARNING_RATE = (1e-4, 3e-2)
WEIGHT_DECAY = (1e-6, 1e-2)
LAYERS = (1, 3)
UNITS = (16, 32, 64, 128)
BATCHES = (64, 128, 256)


def build(inputs: int, layers: int, units: int) -> Any:
    """Return the network as PyTorch users write it, with one output."""
    from torch import nn

    widths = [inputs, *[units] * layers]
    parts: list[Any] = []
    for wide, narrow in pairwise(widths):
        parts += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(widths[-1], 1), nn.Flatten(0))


def search_with_optuna(task: Task) -> Course:
    """Tune skorch's classifier by Optuna's TPE and its successive halving, trial by trial."""
    import optuna
    import torch
    from skorch import NeuralNetBinaryClassifier

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    labels = task.labels.astype(np.float32)
    course = Course()

    def objective(trial: Any) -> float:
        torch.manual_seed(task.seed + trial.number)
        net = NeuralNetBinaryClassifier(
            build(
                task.features.shape[1],
                trial.suggest_int("layers", *LAYERS),
                trial.suggest_categorical("units", UNITS),
            ),
            optimizer=torch.optim.Adam,
            lr=trial.suggest_float("learning_rate", *LEARNING_RATE, log=True),
            optimizer__weight_decay=trial.suggest_float("weight_decay", *WEIGHT_DECAY, log=True),
            batch_size=trial.suggest_categorical("batch_size", BATCHES),
            max_epochs=1,
            train_split=None,
            callbacks="disable",
            iterator_train__shuffle=True,
            verbose=0,
        )
        course.trials += 1
        best = 0.0
        for epoch in range(1, task.most_epochs + 1):
            net.partial_fit(task.features, labels)
            course.epochs += 1
            score = task.score(net.predict_proba(task.validation_features)[:, 1])
            best = max(best, score)
            course.see(best)
            trial.report(best, epoch)
            if course.epochs >= task.epochs:
                trial.study.stop()
                break
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=task.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=task.least_epochs, reduction_factor=task.reduction
        ),
    )
    study.optimize(objective, n_trials=task.trials)
    return course


def search_with_ray(task: Task) -> Course:
    """Tune a hand-written PyTorch loop by Ray Tune's ASHA, on one CPU."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_RESULT_BUFFER_LENGTH"] = "1"
    import ray
    from ray import tune

    warnings.simplefilter("ignore")
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}},
    )
    arrays = ray.put(task)

    def trainable(config: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(config["seed"])
        own = ray.get(arrays)
        features = torch.from_numpy(own.features.copy())
        targets = torch.from_numpy(own.labels.astype(np.float32))
        held = torch.from_numpy(own.validation_features.copy())
        model = build(features.shape[1], config["layers"], config["units"])
        optimizer = torch.optim.Adam(
            model.parameters(),
            lr=config["learning_rate"],
            weight_decay=config["weight_decay"],
            fused=True,
        )
        loss_of = torch.nn.BCEWithLogitsLoss()
        best = 0.0
        for _ in range(own.most_epochs):
            order = torch.randperm(len(features))
            for x, y in zip(
                features[order].split(config["batch_size"]),
                targets[order].split(config["batch_size"]),
                strict=True,
            ):
                optimizer.zero_grad(set_to_none=True)
                loss_of(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                best = max(best, own.score(torch.sigmoid(model(held)).numpy()))
            tune.report({"score": best})

    class Follow(tune.Callback):
        """See each result, and stop when the epochs are spent."""

        def __init__(self) -> None:
            self.course = Course()

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            self.course.epochs += 1
            self.course.trials = len(trials)
            self.course.see(result["score"])

    follow = Follow()

    class Spent(tune.Stopper):
        """Stop all trials when the budget is spent."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return self.stop_all()

        def stop_all(self) -> bool:
            return follow.course.epochs >= task.epochs

    space = {
        "learning_rate": tune.loguniform(*LEARNING_RATE),
        "weight_decay": tune.loguniform(*WEIGHT_DECAY),
        "layers": tune.randint(LAYERS[0], LAYERS[1] + 1),
        "units": tune.choice(UNITS),
        "batch_size": tune.choice(BATCHES),
        "seed": task.seed,
    }
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=task.trials,
            reuse_actors=True,
            scheduler=tune.schedulers.ASHAScheduler(
                max_t=task.most_epochs,
                grace_period=task.least_epochs,
                reduction_factor=task.reduction,
            ),
        ),
        run_config=tune.RunConfig(callbacks=[follow], stop=Spent(), verbose=0),
    )
    np.random.seed(task.seed)
    # Starting the cluster's first process is no trial's cost.
    follow.course.started = time.perf_counter()
    tuner.fit()
    ray.shutdown()
    return follow.course
