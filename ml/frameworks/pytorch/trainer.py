"""Take gradient steps in PyTorch: weights are views of one flat buffer, one fused update."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.learner import Floats32, Problem
from ml.core.loop import objective
from ml.frameworks.pytorch.data import to_tensor
from ml.frameworks.pytorch.models import batch_loss, forward
from ml.frameworks.pytorch.serialization import export_weights, import_weights


class TorchStepper:
    """Take steps over staged tensors; see ``ml.core.loop.Stepper``.

    The weights are leaves that view one flat buffer, so that the optimiser updates a single
    tensor however many layers there are.
    """

    def __init__(self, spec: NetworkSpec, problem: Problem, weights: list[Floats32]) -> None:
        self._spec = spec
        self._problem = problem
        sizes = [array.size for array in weights]
        flat = torch.empty(sum(sizes))
        gradient = torch.zeros_like(flat)
        shapes = [array.shape for array in weights]
        self._leaves = _views(flat, sizes, shapes)
        self._gradients = _views(gradient, sizes, shapes)
        import_weights(self._leaves, weights)
        for leaf in self._leaves:
            leaf.requires_grad_()
        flat.grad = gradient
        self._optimizer = _optimizer(spec.optimizer, flat)
        self._features = self._targets = torch.empty(0)

    def stage(self, features: Floats32, targets: Floats32) -> None:
        """Hand over the training rows once."""
        self._features, self._targets = to_tensor(features), to_tensor(targets)

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        rows = to_tensor(order)
        total = torch.zeros(())
        batches = zip(
            self._features[rows].split(self._spec.batch_size),
            self._targets[rows].split(self._spec.batch_size),
            strict=True,
        )
        for features, targets in batches:
            outputs = forward(self._spec, self._leaves, features)
            loss = objective(self._problem, batch_loss, outputs, targets)
            gradients = torch.autograd.grad(loss, self._leaves)
            torch._foreach_copy_(self._gradients, gradients)
            self._optimizer.step()
            total += loss.detach() * len(features)
        return float(total) / len(order)

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        with torch.no_grad():
            outputs: Floats32 = forward(self._spec, self._leaves, to_tensor(features)).numpy()
        return outputs

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return export_weights(self._leaves)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        import_weights(self._leaves, weights)


def _views(
    flat: torch.Tensor, sizes: list[int], shapes: list[tuple[int, ...]]
) -> list[torch.Tensor]:
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]


def _optimizer(spec: OptimizerSpec, flat: torch.Tensor) -> torch.optim.Optimizer:
    if spec.name == "sgd":
        return torch.optim.SGD([flat], lr=spec.learning_rate, momentum=spec.momentum, fused=True)
    return torch.optim.Adam(
        [flat],
        lr=spec.learning_rate,
        betas=(spec.beta1, spec.beta2),
        eps=spec.epsilon,
        fused=True,
    )
