"""Take gradient steps in PyTorch: by hand where that is known, else by autograd."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml.core.architectures import Pass, declare, forward, merge
from ml.core.learner import Floats32, Problem
from ml.core.loop import Stepper, TrainingState
from ml.core.objective import Examples, objective
from ml.core.ops import row_loss
from ml.core.optimizers import plan_updates
from ml.core.specs import NetworkSpec
from ml.frameworks.pytorch.data import to_tensor
from ml.frameworks.pytorch.dense import is_dense
from ml.frameworks.pytorch.models import OPS
from ml.frameworks.pytorch.serialization import export_weights, import_weights
from ml.frameworks.pytorch.together import DenseSteppers
from ml.frameworks.pytorch.updates import FlatUpdate


def make_stepper(
    spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
) -> Stepper:
    """Return the leanest stepper that trains such a network."""
    kind = DenseStepper if is_dense(spec) else AutogradStepper
    return kind(spec, problem, weights, seed)


class DenseStepper:
    """Take steps of one dense network, by hand; see ``ml.core.loop.Stepper``."""

    def __init__(
        self, spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
    ) -> None:
        self._model = DenseSteppers({0: (spec, problem, weights, seed)})

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""
        self._model.stage({0: examples}, {0: validation})

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        return self._model.epoch({0: order})[0]

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return self._model.predict(0, to_tensor(features))

    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""
        return self._model.validate([0])[0]

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return self._model.weights(0)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        self._model.load_weights(0, weights)

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""
        return self._model.state(0)

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""
        self._model.load_state(0, state)


class AutogradStepper:
    """Take steps of any network over staged tensors; see ``ml.core.loop.Stepper``.

    The trained weights view one flat buffer and their gradients go to another, so that the
    optimiser updates a single tensor however many layers there are.
    """

    def __init__(
        self, spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
    ) -> None:
        self._spec = spec
        self._problem = problem
        self._seed = seed
        declared = declare(spec, problem)
        sizes = [array.size for array, own in zip(weights, declared, strict=True) if own.trained]
        shapes = [own.shape for own in declared if own.trained]
        self._flat, self._gradient, *self._moments = (torch.zeros(sum(sizes)) for _ in range(4))
        self._trained, *self._moment_views = (
            _views(flat, sizes, shapes) for flat in (self._flat, *self._moments)
        )
        self._statistics = [torch.zeros(own.shape) for own in declared if not own.trained]
        self._is_trained = [own.trained for own in declared]
        self._weights = merge(self._is_trained, self._trained, self._statistics)
        self._row_loss = partial(row_loss, OPS)
        self._updates = 0
        self.load_weights(weights)

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""
        self._validation = None if validation is None else to_tensor(validation)
        self._features, self._targets = to_tensor(examples.features), to_tensor(examples.targets)
        self._shares = None if examples.weights is None else to_tensor(examples.weights)
        self._per_epoch = -(-len(examples.features) // self._spec.batch_size)

    @torch.no_grad()
    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        size = self._spec.batch_size
        rows = to_tensor(order)
        features, targets = self._features[rows], self._targets[rows]
        shares = None if self._shares is None else self._shares[rows]
        updates = -(-len(order) // size)
        plan = plan_updates(self._spec, self._updates, updates, self._per_epoch, self._seed)
        parts = [[flat] for flat in (self._flat, self._gradient, *self._moments)]
        move = FlatUpdate(self._spec.optimizer, self._updates, parts)
        total: Any = 0.0
        for batch, wanted, share, rate, key in zip(
            features.split(size),
            targets.split(size),
            [None] * updates if shares is None else shares.split(size),
            plan.learning_rate.tolist(),
            plan.keys.tolist(),
            strict=True,
        ):
            total = total + self._learn(batch, wanted, share, key)
            move.apply(rate)
        self._updates += updates
        return float(total) / len(order)

    @torch.no_grad()
    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return self._predict_rows(to_tensor(features))

    @torch.no_grad()
    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""
        return self._predict_rows(self._validation)

    def _predict_rows(self, rows: Any) -> Floats32:
        run = Pass(OPS, self._spec, self._weights)
        return export_weights([forward(run, self._problem, rows)])[0]

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return export_weights(self._weights)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        import_weights(self._weights, weights)

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""
        first, second = (export_weights(views) for views in self._moment_views)
        return TrainingState(self.weights(), first, second, self._updates)

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""
        self.load_weights(state.weights)
        for views, arrays in zip(self._moment_views, (state.first, state.second), strict=True):
            import_weights(views, arrays)
        self._updates = state.updates

    @torch.enable_grad()
    def _learn(self, features: Any, targets: Any, share: Any, key: int) -> torch.Tensor:
        """Put a batch's gradient in place, and return its summed loss."""
        leaves = [leaf.detach().requires_grad_() for leaf in self._trained]
        weights = merge(self._is_trained, leaves, self._statistics)
        run = Pass(
            OPS, self._spec, weights, training=True, key=torch.tensor(key, dtype=torch.int32)
        )
        outputs = forward(run, self._problem, features)
        losses = objective(self._problem, self._row_loss, outputs, targets)
        mean = (losses if share is None else losses * share).sum() / len(features)
        gradients = torch.autograd.grad(mean, leaves)
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self._gradient)
        for kept, value in zip(self._statistics, run.statistics, strict=True):
            kept.copy_(value.detach())
        total: torch.Tensor = mean.detach() * len(features)
        return total


def _views(
    flat: torch.Tensor, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[torch.Tensor]:
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
