"""Say where the weights of several dense networks of one shape lie in one flat tensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

# In floats. What is left over of a processor's vectors is computed by other code, with other last
# bits, so that each model's part of a block takes a multiple of this.
VECTOR = 32


class Layout:
    """Place kernel [in, out] and bias [out] of each layer in turn, for any number of models.

    A block holds the same weights of all models, so that a product writes it in one piece. The
    first layer's kernel and bias are one block, for the rows that it takes end in a 1.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._shapes = [shape if len(shape) == 2 else (1, *shape) for shape in shapes]
        (inputs, width), _, *others = self._shapes
        self._matrices = [(inputs + 1, width), *others]
        self._rooms = [-(-math.prod(one) // VECTOR) * VECTOR for one in self._matrices]
        self.room = sum(self._rooms)

    def blocks(self, flat: torch.Tensor, models: int) -> list[torch.Tensor]:
        """Return views [..., K, room of the block] of flat ones [..., K * room]."""
        parts = flat.split([models * room for room in self._rooms], -1)
        return [
            part.unflatten(-1, (models, room))
            for part, room in zip(parts, self._rooms, strict=True)
        ]

    def matrices(self, blocks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return views [K, rows, columns] of blocks [K, room]: the first layer's, then the rest."""
        return [
            block[:, : math.prod(shape)].unflatten(1, shape)
            for block, shape in zip(blocks, self._matrices, strict=True)
        ]

    def weights(self, blocks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return flat views of one model's kernels and biases, given its blocks [room]."""
        kernel = math.prod(self._shapes[0])
        first = blocks[0][:kernel], blocks[0][kernel : kernel + self._shapes[1][1]]
        sizes = map(math.prod, self._matrices[1:])
        return [*first, *(block[:size] for block, size in zip(blocks[1:], sizes, strict=True))]

    def join(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return models' flat tensors [..., room] as one, [..., K * room]."""
        bounds = itertools.pairwise((0, *itertools.accumulate(self._rooms)))
        return torch.cat([row[..., a:b] for a, b in bounds for row in rows], -1)

    def part(self, flat: torch.Tensor, models: int, row: int) -> torch.Tensor:
        """Return a copy of one model's part [..., room] of what was joined."""
        return torch.cat([block[..., row, :] for block in self.blocks(flat, models)], -1)
