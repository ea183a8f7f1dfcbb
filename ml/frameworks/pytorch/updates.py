"""Move flat weights by flat gradients, as each model's own optimiser says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ml.core.specs import OptimizerSpec

# How many updates are numbered at a time: one by one takes ten times as long.
NUMBERED = 256


class FlatUpdate:
    """Update weights of any shape in place, together with the optimiser's two moments.

    ``parts`` are the weights, their gradients, the first and the second moments, as many tensors
    of each. ``updates`` have been made before. Models that are updated alike may share one.
    """

    def __init__(
        self,
        optimizer: OptimizerSpec,
        updates: int,
        parts: Sequence[Sequence[torch.Tensor]],
    ) -> None:
        self._lists = [list(part) for part in parts]
        self._optimizer = optimizer
        self._updates = updates
        self._numbers: Iterator[torch.Tensor] = iter(())
        # The kernels under torch.optim.Adam(fused=True) and AdamW, whose own step costs more.
        fused: dict[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
        self._kernel = fused.get(optimizer.name)

    def apply(self, rate: float) -> None:
        """Make one update at this learning rate."""
        optimizer = self._optimizer
        if self._kernel is None:
            for weights, gradient, first in zip(*self._lists[:3], strict=True):
                if optimizer.weight_decay:
                    gradient.add_(weights, alpha=optimizer.weight_decay)
                first.mul_(optimizer.momentum).add_(gradient)
                weights.add_(first, alpha=-rate)
            return
        self._kernel(
            *self._lists,
            [],
            [self._count()] * len(self._lists[0]),
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
