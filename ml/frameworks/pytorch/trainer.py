"""Take gradient steps in PyTorch: gradients by hand, one flat buffer, one fused update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from numpy import int64
from numpy.typing import NDArray

from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.learner import Floats32, Problem
from ml.core.loop import objective, objective_gradient
from ml.frameworks.pytorch.data import to_tensor
from ml.frameworks.pytorch.models import DenseNetwork, batch_loss, row_gradient
from ml.frameworks.pytorch.serialization import export_weights, import_weights


class TorchStepper:
    """Take steps over staged tensors; see ``ml.core.loop.Stepper``.

    The weights view one flat buffer and their gradients another, so that the optimiser updates
    a single tensor however many layers there are.
    """

    def __init__(self, spec: NetworkSpec, problem: Problem, weights: list[Floats32]) -> None:
        self._spec = spec
        self._problem = problem
        sizes = [array.size for array in weights]
        shapes = [array.shape for array in weights]
        flat = torch.empty(sum(sizes))
        gradient = torch.zeros_like(flat)
        self._weights = _views(flat, sizes, shapes)
        import_weights(self._weights, weights)
        self._network = DenseNetwork(spec, self._weights, _views(gradient, sizes, shapes))
        self._update = _optimizer(spec.optimizer, flat, gradient)
        self._features = self._targets = torch.empty(0)

    def stage(self, features: Floats32, targets: Floats32) -> None:
        """Hand over the training rows once."""
        self._features, self._targets = to_tensor(features), to_tensor(targets)

    @torch.no_grad()
    def epoch(self, order: NDArray[int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        rows = to_tensor(order)
        targets = self._targets[rows]
        residual = partial(objective_gradient, self._problem, row_gradient)
        outputs = []
        for batch, wanted in zip(
            self._features[rows].split(self._spec.batch_size),
            targets.split(self._spec.batch_size),
            strict=True,
        ):
            outputs.append(self._network.learn(batch, wanted, residual))
            self._update()
        return float(objective(self._problem, batch_loss, torch.cat(outputs), targets))

    @torch.no_grad()
    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        outputs: Floats32 = self._network.forward(to_tensor(features)).numpy()
        return outputs

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return export_weights(self._weights)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        import_weights(self._weights, weights)


def _views(
    flat: torch.Tensor, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[torch.Tensor]:
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]


def _optimizer(
    spec: OptimizerSpec, flat: torch.Tensor, gradient: torch.Tensor
) -> Callable[[], object]:
    """Return what updates the flat weights by the flat gradient."""
    if spec.name == "sgd":
        flat.grad = gradient
        sgd = torch.optim.SGD([flat], lr=spec.learning_rate, momentum=spec.momentum, fused=True)
        return sgd.step
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    steps = torch.zeros(())

    def adam() -> None:
        # The kernel under torch.optim.Adam(fused=True), whose own step costs more than it.
        steps.add_(1)
        torch._fused_adam_(
            [flat],
            [gradient],
            [first],
            [second],
            [],
            [steps],
            lr=spec.learning_rate,
            beta1=spec.beta1,
            beta2=spec.beta2,
            weight_decay=0.0,
            eps=spec.epsilon,
            amsgrad=False,
            maximize=False,
        )

    return adam
