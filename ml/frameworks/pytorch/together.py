"""Train dense networks of one shape side by side: one product for all models at each layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ml.core.architectures import declare
from ml.core.learner import Floats32, Problem
from ml.core.loop import TrainingState
from ml.core.objective import Examples, objective, objective_gradient
from ml.core.ops import keep_places, least_bits, place_key, row_gradient, row_loss, step_keys
from ml.core.optimizers import plan_rates
from ml.core.specs import NetworkSpec
from ml.frameworks.pytorch.data import to_numpy, to_tensor
from ml.frameworks.pytorch.dense import DenseNetworks, dropped_widths
from ml.frameworks.pytorch.joint import each_alone, join_problems, weigh_gradient
from ml.frameworks.pytorch.layout import VECTOR, Layout
from ml.frameworks.pytorch.models import OPS
from ml.frameworks.pytorch.updates import FlatUpdate

# The rows of some updates are gathered at a time, as many as stay near the processor.
GATHERED_BYTES = 2**18

Model = tuple[NetworkSpec, Problem, list[Floats32], int]


@dataclass
class _Own:
    """Hold what belongs to one model alone.

    Its features begin at ``offset`` of those staged, its targets at ``first``.
    """

    spec: NetworkSpec
    problem: Problem
    seed: int
    updates: int = 0
    offset: int = 0
    first: int = 0
    rows: int = 0
    held: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self._rates = f"{self.spec.optimizer!r} {self.spec.schedule!r} {self.spec.epochs}"

    @property
    def alike(self) -> tuple[str, int, int]:
        """Return what models agree in that are updated alike."""
        return self._rates, self.updates, self.rows


class _Plan(NamedTuple):
    """Hold a model's learning rates by update, and the keys by which it drops values."""

    rates: list[float]
    keys: NDArray[np.int32] | None


class DenseSteppers:
    """Take the epochs of dense networks as one computation; see ``ml.core.loop.Steppers``.

    Weights and moments are flat, [3, K * P] of the models that train; what stands still is taken
    out. The models have one shape, and as many updates in an epoch; where they have as
    many rows too, each one's numbers are to the bit those that it has alone.
    """

    def __init__(self, models: Mapping[int, Model]) -> None:
        self._own = {
            index: _Own(spec, problem, seed) for index, (spec, problem, _, seed) in models.items()
        }
        spec, problem, _, _ = next(iter(models.values()))
        self._spec = spec
        self._shapes = [weight.shape for weight in declare(spec, problem)]
        self._layout = Layout(self._shapes)
        self._row_loss, self._row_gradient = partial(row_loss, OPS), partial(row_gradient, OPS)
        # The models that are not in the computation, [3, P] each.
        self._parked = {index: torch.zeros(3, self._layout.room) for index in models}
        self._active: list[int] = []
        self._state = self._gradient = torch.zeros(0)
        # For predictions: the networks of one model, where its weights lie now.
        self._single: dict[int, DenseNetworks] = {}
        # Views of a model's weights, or of one of the moments, where they lie now.
        self._seen: dict[tuple[int, int], list[torch.Tensor]] = {}
        # The features of the validation rows of all models, as soon as they are asked for.
        self._held: torch.Tensor | None = None
        self._moved_by: list[tuple[int, FlatUpdate]] = []
        self._counts: dict[int, torch.Tensor] = {}
        self._buffers: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
        for index, (_, _, weights, _) in models.items():
            self.load_weights(index, weights)
        self._activate(models)

    def stage(self, examples: Mapping[int, Examples], held: Mapping[int, Floats32 | None]) -> None:
        """Hand over each model's training rows once, and the features of its validation rows.

        Features that models share are staged once.
        """
        parts: dict[int, Floats32] = {}
        places: dict[int, int] = {}
        blocks: dict[int, torch.Tensor] = {}
        total = 0
        for index, rows in examples.items():
            key = id(rows.features)
            if key not in parts:
                parts[key], places[key] = rows.features, sum(map(len, parts.values()))
            own, features = self._own[index], held[index]
            own.offset, own.first, own.rows = places[key], total, len(rows.features)
            total += own.rows
            if features is not None:
                own.held = blocks.setdefault(id(features), to_tensor(features))
        self._features = _join(list(parts.values()))
        self._targets = _join([rows.targets for rows in examples.values()])
        shares = [rows.weights for rows in examples.values() if rows.weights is not None]
        self._shares = _join(shares) if shares else None

    @torch.no_grad()
    def epoch(self, orders: Mapping[int, NDArray[np.int64]]) -> Mapping[int, float]:
        """Train these models for an epoch; the others stand still."""
        self._activate(orders)
        models = [self._own[index] for index in self._active]
        counts = [len(orders[index]) for index in self._active]
        longest = max(counts)
        room = -(-longest // VECTOR) * VECTOR
        order = np.zeros((len(models), room), np.int64)
        # A place that is no row's holds the first row; what it gives is left out.
        for row, index in enumerate(self._active):
            order[row, : counts[row]] = orders[index]
        rows, own = (
            to_tensor(order + np.array(places)[:, None] if any(places) else order)
            for places in ([m.offset for m in models], [m.first for m in models])
        )
        targets = self._targets[own]
        shares = None if self._shares is None else self._shares[own].unsqueeze(2)
        size = self._spec.batch_size
        updates = -(-longest // size)
        plans = _plan(models, updates)
        moves = [(move, plans[row].rates) for row, move in self._moves(models)]
        problem, shared = join_problems([model.problem for model in models])
        gradient = partial(objective_gradient, problem, self._row_gradient)
        gradient = partial(each_alone, gradient) if shared and len(models) > 1 else gradient
        outputs = self._buffer("outputs", (len(models), room, self._shapes[-1][0]))
        for update, ((features, masks), given, wanted, share) in enumerate(
            zip(
                self._batches(models, rows[:, :longest], plans),
                outputs[:, :longest].split(size, 1),
                targets[:, :longest].split(size, 1),
                [None] * updates if shares is None else shares[:, :longest].split(size, 1),
                strict=True,
            )
        ):
            if update == 0 or update == updates - 1:
                count, missing = self._count([each - update * size for each in counts], wanted)
            residual = partial(weigh_gradient, gradient, wanted, share, count, missing)
            self._networks.learn(features, given, residual, masks)
            for move, rates in moves:
                move.apply(rates[update])
        for model in models:
            model.updates += updates
        losses = self._losses(models, outputs, targets)
        if shares is not None:
            losses = losses * shares[:, :, 0]
        if min(counts) == longest:
            sums = losses[:, :longest].sum(1).tolist()
        else:
            sums = [float(row[:count].sum()) for row, count in zip(losses, counts, strict=True)]
        means = (total / count for total, count in zip(sums, counts, strict=True))
        return dict(zip(self._active, means, strict=True))

    @torch.no_grad()
    def predict(self, index: int, features: torch.Tensor) -> Floats32:
        """Return a model's raw outputs [n, outputs]."""
        if index not in self._single:
            blocks = [block[None] for block in self._blocks_of(index, 0)]
            weights = self._layout.matrices(blocks)
            self._single[index] = DenseNetworks(self._spec.activation, weights)
        return to_numpy(self._single[index].forward(features[None])[0])

    @torch.no_grad()
    def validate(self, indices: Sequence[int]) -> Mapping[int, Floats32]:
        """Return the raw outputs of these models for their validation rows."""
        held = {index: self._own[index].held for index in indices}
        sizes = {len(rows) for rows in held.values() if rows is not None}
        if len(indices) == 1 or set(indices) != set(self._active) or len(sizes) != 1:
            return {i: self.predict(i, rows) for i, rows in held.items() if rows is not None}
        if self._held is None:
            rows = [held[index] for index in self._active]
            self._held = torch.stack([each for each in rows if each is not None])
        outputs = to_numpy(self._networks.forward(self._held))
        return dict(zip(self._active, outputs, strict=True))

    def weights(self, index: int) -> list[Floats32]:
        """Return copies of a model's weights."""
        return self._arrays(index, 0)

    def load_weights(self, index: int, weights: Sequence[Floats32]) -> None:
        """Put these weights of a model in place."""
        self._load(index, 0, weights)

    def state(self, index: int) -> TrainingState:
        """Return copies of all that a model's next update depends on."""
        weights, first, second = (self._arrays(index, part) for part in range(3))
        return TrainingState(weights, first, second, self._own[index].updates)

    def load_state(self, index: int, state: TrainingState) -> None:
        """Let a model go on from this state."""
        for part, arrays in enumerate((state.weights, state.first, state.second)):
            self._load(index, part, arrays)
        self._own[index].updates = state.updates
        self._moved_by.clear()

    def release(self, index: int) -> None:
        """Forget a model."""
        del self._own[index]
        self._parked.pop(index, None)

    def _activate(self, indices: Iterable[int]) -> None:
        """Let the computation be of these models, with those side by side that move alike."""
        if set(indices) == set(self._active):
            return
        self._single.clear()
        self._seen.clear()
        self._moved_by.clear()
        self._buffers.clear()
        self._held = None
        for row, index in enumerate(self._active):
            if index in self._own:  # One that was released stays until the others are parted.
                self._parked[index] = self._layout.part(self._state, len(self._active), row)
        self._active = sorted(indices, key=lambda index: (self._own[index].alike, index))
        if self._active:
            self._state = self._layout.join([self._parked.pop(index) for index in self._active])
            self._gradient = torch.zeros_like(self._state[0])
            weights, gradients = (
                self._layout.matrices(self._layout.blocks(flat, len(self._active)))
                for flat in (self._state[0], self._gradient)
            )
            self._networks = DenseNetworks(self._spec.activation, weights, gradients)

    def _blocks_of(self, index: int, part: int) -> list[torch.Tensor]:
        """Return views of a model's blocks of its weights, or of one of the moments."""
        if index in self._parked:
            return [b[0] for b in self._layout.blocks(self._parked[index][part], 1)]
        row = self._active.index(index)
        return [b[row] for b in self._layout.blocks(self._state[part], len(self._active))]

    def _arrays(self, index: int, part: int) -> list[Floats32]:
        if (index, part) not in self._seen:
            self._seen[index, part] = self._layout.weights(self._blocks_of(index, part))
        return [
            to_numpy(flat).copy().reshape(shape)
            for flat, shape in zip(self._seen[index, part], self._shapes, strict=True)
        ]

    def _load(self, index: int, part: int, arrays: Sequence[Floats32]) -> None:
        into = self._layout.weights(self._blocks_of(index, part))
        for flat, array in zip(into, arrays, strict=True):
            flat.copy_(to_tensor(array.ravel()))

    def _moves(self, models: list[_Own]) -> list[tuple[int, FlatUpdate]]:
        """Return what moves the models that move alike, each with the row of the first of them.

        They go on moving alike as long as the computation is of the same models.
        """
        if not self._moved_by:
            runs = itertools.groupby(range(len(models)), key=lambda row: models[row].alike)
            flats = (self._state[0], self._gradient, self._state[1], self._state[2])
            for rows in (list(run) for _, run in runs):
                parts = [[flat] for flat in flats]
                if len(rows) < len(models):
                    place = slice(rows[0], rows[-1] + 1)
                    blocks = (self._layout.blocks(flat, len(models)) for flat in flats)
                    parts = [[block[place] for block in each] for each in blocks]
                model = models[rows[0]]
                move = FlatUpdate(model.spec.optimizer, model.updates, parts)
                self._moved_by.append((rows[0], move))
        return self._moved_by

    def _batches(
        self, models: list[_Own], rows: torch.Tensor, plans: list[_Plan]
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """Yield each update's features [K, n, inputs + 1] and masks, gathered by several."""
        size, (count, longest) = self._spec.batch_size, rows.shape
        widest = max(self._features.shape[1], *dropped_widths(self._spec), 1)
        step = max(GATHERED_BYTES // (4 * widest * count * size), 1)
        full = longest // size
        for first in range(0, full, step):
            last = min(first + step, full)
            picked = rows[:, first * size : last * size].reshape(count, last - first, size)
            features = self._gather(picked.transpose(0, 1))
            masks = self._masks(models, plans, slice(first, last), size)
            yield from zip(features.unbind(), masks, strict=True)
        if longest % size:
            masks = self._masks(models, plans, slice(full, full + 1), longest % size)
            yield self._gather(rows[:, full * size :]), masks[0]

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the features of these rows and a 1 for the first bias, [..., inputs + 1]."""
        inputs = self._features.shape[1]
        into = self._buffer("features", (rows.numel(), inputs + 1))
        # Four times as fast as an index of more axes.
        torch.index_select(self._features, 0, rows.reshape(-1), out=into[:, :inputs])
        return into.view(*rows.shape, -1)

    def _buffer(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return memory of this shape, the same one for a name as long as the models stay.

        It holds ones at first. Memory that is new has to be fetched page by page, which takes as
        long as filling it.
        """
        if (name, shape) not in self._buffers:
            self._buffers[name, shape] = self._features.new_ones(shape)
        return self._buffers[name, shape]

    def _masks(
        self, models: list[_Own], plans: list[_Plan], place: slice, rows: int
    ) -> list[list[torch.Tensor]]:
        """Return what multiplies each hidden layer's outputs [K, rows, width], by update."""
        widths = dropped_widths(self._spec)
        if not widths:
            return [[]] * (place.stop - place.start)
        drawn = [plan.keys[place] for plan in plans if plan.keys is not None]
        keys = to_tensor(np.stack(drawn, 1))[:, :, None, None]
        rates = [model.spec.dropout for model in models]
        least = torch.tensor([least_bits(rate) for rate in rates], dtype=torch.int32)
        scales = torch.tensor([1 / (1 - rate) for rate in rates])[:, None, None]
        layers = []
        for layer, width in enumerate(widths, start=1):
            key = place_key(OPS, keys, layer)
            kept = keep_places(OPS, (rows, width), least[:, None, None], key, self._features)
            layers.append(kept.mul_(scales).unbind())
        return [list(masks) for masks in zip(*layers, strict=True)]

    def _count(
        self, left: list[int], wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return how many rows of a batch each model has, and which it has not, if these differ.

        ``left`` counts the rows that each model has yet to see.
        """
        size = wanted.shape[1]
        present = [min(count, size) for count in left]
        if min(present) == size:
            # As a tensor, so that it is not made one at each division.
            if size not in self._counts:
                self._counts[size] = torch.tensor(float(size))
            return self._counts[size], None
        counts = torch.tensor(present)[:, None, None]
        return counts, torch.arange(size)[None, :, None] >= counts

    def _losses(self, models: list[_Own], outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        """Return each row's loss [K, n]."""
        problems = [model.problem for model in models]
        if join_problems(problems)[1]:
            given, wanted = outputs.flatten(0, 1), targets.flatten(0, 1)
            losses: torch.Tensor = objective(problems[0], self._row_loss, given, wanted)
            return losses.view(outputs.shape[:2])
        return torch.stack(
            [
                objective(problem, self._row_loss, given, wanted)
                for problem, given, wanted in zip(problems, outputs, targets, strict=True)
            ]
        )


def _join(arrays: Sequence[Floats32]) -> torch.Tensor:
    return to_tensor(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _plan(models: list[_Own], updates: int) -> list[_Plan]:
    """Return each model's learning rates and keys in the updates of an epoch."""
    known: dict[Any, list[float]] = {}
    plans = []
    for model in models:
        spec, done = model.spec, model.updates
        if model.alike not in known:
            per_epoch = -(-model.rows // spec.batch_size)
            known[model.alike] = plan_rates(spec, done, updates, per_epoch).tolist()
        keys = step_keys(model.seed, done, updates) if spec.dropout else None
        plans.append(_Plan(known[model.alike], keys))
    return plans
