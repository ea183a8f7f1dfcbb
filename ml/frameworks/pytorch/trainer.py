"""Take gradient steps in PyTorch: one flat buffer, one fused update, the leanest gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml.core.architectures import Pass, declare, forward, merge
from ml.core.learner import Floats32, Problem
from ml.core.loop import TrainingState
from ml.core.objective import Examples, objective, objective_gradient
from ml.core.ops import row_gradient, row_loss
from ml.core.optimizers import plan_updates
from ml.core.specs import NetworkSpec
from ml.frameworks.pytorch.data import to_tensor
from ml.frameworks.pytorch.models import OPS, DenseNetwork
from ml.frameworks.pytorch.serialization import export_weights, import_weights


class TorchStepper:
    """Take steps over staged tensors; see ``ml.core.loop.Stepper``.

    The trained weights view one flat buffer and their gradients another, so that the optimiser
    updates a single tensor however many layers there are. Chains of dense layers have their
    gradients by hand; autograd has those of all other networks.
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
        trained, gradients, *moments = (
            _views(flat, sizes, shapes) for flat in (self._flat, self._gradient, *self._moments)
        )
        self._trained, self._moment_views = trained, moments
        self._statistics = [torch.zeros(own.shape) for own in declared if not own.trained]
        self._is_trained = [own.trained for own in declared]
        self._weights = merge(self._is_trained, trained, self._statistics)
        self._row_loss, self._row_gradient = partial(row_loss, OPS), partial(row_gradient, OPS)
        self._dense = DenseNetwork(spec, trained, gradients) if DenseNetwork.takes(spec) else None
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
        self._steps = torch.tensor(float(self._updates))
        learn = self._learn_by_hand if self._dense else self._learn_by_autograd
        learnt = []
        for batch, wanted, share, rate, key in zip(
            features.split(size),
            targets.split(size),
            [None] * updates if shares is None else shares.split(size),
            plan.learning_rate.tolist(),
            plan.keys.tolist(),
            strict=True,
        ):
            learnt.append(learn(batch, wanted, share, key))
            self._update(rate)
        self._updates += updates
        if not self._dense:
            return float(sum(learnt)) / len(order)
        losses = objective(self._problem, self._row_loss, torch.cat(learnt), targets)
        return float((losses if shares is None else losses * shares).sum()) / len(order)

    @torch.no_grad()
    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return self._predict_rows(to_tensor(features))

    @torch.no_grad()
    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""
        return self._predict_rows(self._validation)

    def _predict_rows(self, rows: Any) -> Floats32:
        if self._dense:
            return export_weights([self._dense.forward(rows)])[0]
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

    def _learn_by_hand(self, features: Any, targets: Any, share: Any, key: int) -> torch.Tensor:
        """Put a batch's gradient in place, and return its outputs."""

        def residual(outputs: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = objective_gradient(
                self._problem, self._row_gradient, outputs, targets
            )
            count = len(features)
            return rows.div_(count) if share is None else rows.mul_(share[:, None] / count)

        assert self._dense is not None
        return self._dense.learn(features, residual)

    @torch.enable_grad()
    def _learn_by_autograd(self, features: Any, targets: Any, share: Any, key: int) -> torch.Tensor:
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

    def _update(self, rate: float) -> None:
        """Move the flat weights by the flat gradient."""
        optimizer = self._spec.optimizer
        first, second = self._moments
        if optimizer.name == "sgd":
            if optimizer.weight_decay:
                self._gradient.add_(self._flat, alpha=optimizer.weight_decay)
            first.mul_(optimizer.momentum).add_(self._gradient)
            self._flat.add_(first, alpha=-rate)
            return
        # The kernels under torch.optim.Adam(fused=True) and AdamW, whose own step costs more.
        kernel: Any = torch._fused_adamw_ if optimizer.name == "adamw" else torch._fused_adam_
        self._steps.add_(1)
        kernel(
            [self._flat],
            [self._gradient],
            [first],
            [second],
            [],
            [self._steps],
            lr=rate,
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            weight_decay=optimizer.weight_decay,
            eps=optimizer.epsilon,
            amsgrad=False,
            maximize=False,
        )


def _views(
    flat: torch.Tensor, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[torch.Tensor]:
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
