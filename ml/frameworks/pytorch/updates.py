"""Move flat weights by flat gradients, as each model's own optimiser says."""

from __future__ import annotations

from typing import Any

import torch

from ml.core.specs import OptimizerSpec


class FlatUpdate:
    """Update weights of any shape in place, together with the optimiser's two moments.

    Models that are updated alike may share one.
    """

    def __init__(
        self,
        optimizer: OptimizerSpec,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
    ) -> None:
        self._weights, self._gradient, self._first = weights, gradient, first
        self._optimizer = optimizer
        self._lists = [[weights], [gradient], [first], [second], []]
        # The kernels under torch.optim.Adam(fused=True) and AdamW, whose own step costs more.
        fused: dict[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
        self._kernel = fused.get(optimizer.name)

    def apply(self, rate: float, count: torch.Tensor) -> None:
        """Make one update at this learning rate, of which it is the ``count``-th."""
        optimizer = self._optimizer
        if self._kernel is None:
            if optimizer.weight_decay:
                self._gradient.add_(self._weights, alpha=optimizer.weight_decay)
            self._first.mul_(optimizer.momentum).add_(self._gradient)
            self._weights.add_(self._first, alpha=-rate)
            return
        self._kernel(
            *self._lists,
            [count],
            lr=rate,
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            weight_decay=optimizer.weight_decay,
            eps=optimizer.epsilon,
            amsgrad=False,
            maximize=False,
        )


def count_updates(done: int, updates: int) -> list[torch.Tensor]:
    """Return the numbers of the updates after ``done``, as the optimiser's kernels take them."""
    return list(torch.arange(done + 1.0, done + updates + 1.0).unbind())
