"""Move flat weights by flat gradients, as each model's own optimiser says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ml.core.specs import OptimizerSpec

# How many updates are numbered at a time: one by one takes ten times as long.
NUMBERED = 256


class FlatUpdate:
    """Update weights of any shape in place, together with the optimiser's two moments.

    ``updates`` have been made before. Models that are updated alike may share one.
    """

    def __init__(
        self,
        optimizer: OptimizerSpec,
        updates: int,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
    ) -> None:
        self._weights, self._gradient, self._first = weights, gradient, first
        self._optimizer = optimizer
        self._updates = updates
        self._numbers: Iterator[torch.Tensor] = iter(())
        self._lists = [[weights], [gradient], [first], [second], []]
        # The kernels under torch.optim.Adam(fused=True) and AdamW, whose own step costs more.
        fused: dict[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
        self._kernel = fused.get(optimizer.name)

    def apply(self, rate: float) -> None:
        """Make one update at this learning rate."""
        optimizer = self._optimizer
        if self._kernel is None:
            if optimizer.weight_decay:
                self._gradient.add_(self._weights, alpha=optimizer.weight_decay)
            self._first.mul_(optimizer.momentum).add_(self._gradient)
            self._weights.add_(self._first, alpha=-rate)
            return
        self._kernel(
            *self._lists,
            [self._count()],
            lr=rate,
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            weight_decay=optimizer.weight_decay,
            eps=optimizer.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _count(self) -> torch.Tensor:
        """Return the number of the update, as the kernels take it."""
        number = next(self._numbers, None)
        if number is None:
            start = self._updates + 1.0
            self._numbers = iter(torch.arange(start, start + NUMBERED).unbind())
            self._updates += NUMBERED
            number = next(self._numbers)
        return number
