"""Write every network once, in the operations that each framework supplies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ml.core.errors import RequestInvalid
from ml.core.learner import Problem
from ml.core.ops import NUMPY, Ops, drop, place_key
from ml.core.specs import NetworkSpec

Start = Literal["he", "glorot", "token", "zeros", "ones"]
# Added to a variance before its root; PyTorch's and Keras' layers differ in their defaults.
NORM_EPSILON = 1e-5
# The share of a batch in the statistics that a batch norm keeps for predictions.
NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class Weight:
    """Describe one array of a network: its shape, how it starts, and whether it is trained.

    What is not trained is a batch norm's mean or variance, which every update moves.
    """

    shape: tuple[int, ...]
    start: Start
    trained: bool = True


class Pass:
    """Go once through a network: hand out its weights in order, and collect its statistics.

    Without ``weights`` it declares them instead. In ``training`` values are dropped by ``key``
    (int32) and batches are normalised by their own statistics, over the rows that are
    ``present`` (1 or 0 for each row, None for all of them).
    """

    def __init__(
        self,
        ops: Ops,
        spec: NetworkSpec,
        weights: Sequence[Any] | None,
        *,
        training: bool = False,
        present: Any = None,
        key: Any = None,
    ) -> None:
        self.ops = ops
        self.spec = spec
        self.declared: list[Weight] = []
        self.statistics: list[Any] = []
        self._weights = None if weights is None else iter(weights)
        self._training = training
        self._present = present
        self._key = key
        self._drops = 0

    def weight(self, shape: tuple[int, ...], start: Start, *, trained: bool = True) -> Any:
        """Return the next weight."""
        if self._weights is not None:
            return next(self._weights)
        self.declared.append(Weight(shape, start, trained))
        return np.zeros(shape, np.float32)

    def dense(self, signal: Any, width: int, *, relu: bool = False, normed: bool = False) -> Any:
        """Return signal · kernel + bias, over the last axis.

        ``relu`` and ``normed`` say that it feeds the activation, or nothing but the norm. A
        batch norm takes every bias away again, and the gradient of such a bias is rounding
        noise that Adam blows up, so there is none before it.
        """
        activated = relu and self.spec.activation == "relu"
        kernel = self.weight((int(signal.shape[-1]), width), "he" if activated else "glorot")
        product = self.ops.matmul(signal, kernel)
        if normed and self.spec.norm == "batch":
            return product
        return product + self.weight((width,), "zeros")

    def activate(self, signal: Any) -> Any:
        """Apply the network's activation."""
        return self.ops.activations[self.spec.activation](signal)

    def drop(self, signal: Any) -> Any:
        """Drop a share of the values while training."""
        if not self._training or self.spec.dropout == 0:
            return signal
        self._drops += 1
        key = place_key(self.ops, self._key, self._drops)
        return drop(self.ops, signal, self.spec.dropout, key)

    def normalise(self, signal: Any) -> Any:
        """Apply the network's norm over the last axis (layer) or all others (batch).

        Ba, Kiros and Hinton 2016; Ioffe and Szegedy 2015. Both variances are the biased one.
        """
        if self.spec.norm == "none":
            return signal
        shape = (int(signal.shape[-1]),)
        scale, shift = self.weight(shape, "ones"), self.weight(shape, "zeros")
        if self.spec.norm == "layer":
            mean = self.ops.mean(signal, (len(signal.shape) - 1,))
            centred = signal - mean
            variance = self.ops.mean(centred * centred, (len(signal.shape) - 1,))
        else:
            centred, variance = self._of_batch(signal, shape)
        return centred * (scale / self.ops.sqrt(variance + NORM_EPSILON)) + shift

    def _of_batch(self, signal: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
        means = self.weight(shape, "zeros", trained=False)
        variances = self.weight(shape, "ones", trained=False)
        if not self._training:
            return signal - means, variances
        mean = self._average(signal, shape)
        centred = signal - mean
        variance = self._average(centred * centred, shape)
        self.statistics.append(means + NORM_MOMENTUM * (mean - means))
        self.statistics.append(variances + NORM_MOMENTUM * (variance - variances))
        return centred, variance

    def _average(self, signal: Any, shape: tuple[int, ...]) -> Any:
        axes = tuple(range(len(signal.shape) - 1))
        if self._present is None:
            return self.ops.reshape(self.ops.mean(signal, axes), shape)
        present = self.ops.reshape(self._present, (-1, *[1] * (len(signal.shape) - 1)))
        places = math.prod(signal.shape[1:-1])
        return self.ops.sum(signal * present, axes) / (self.ops.sum(self._present, (0,)) * places)


def forward(run: Pass, problem: Problem, features: Any) -> Any:
    """Return the raw outputs [n, outputs] of a network for features [n, inputs].

    Raises RequestInvalid where the architecture cannot take such features.
    """
    hidden = _ARCHITECTURES[run.spec.architecture](run, problem, features)
    return run.dense(hidden, problem.outputs)


def declare(spec: NetworkSpec, problem: Problem) -> tuple[Weight, ...]:
    """Return a network's weights, in the order in which a pass takes them."""
    run = Pass(NUMPY, spec, None)
    forward(run, problem, np.zeros((1, problem.inputs), np.float32))
    return tuple(run.declared)


def merge(trained: Sequence[bool], weights: Sequence[Any], statistics: Sequence[Any]) -> list[Any]:
    """Return weights and statistics in the order in which a pass takes them."""
    parts = {True: iter(weights), False: iter(statistics)}
    return [next(parts[own]) for own in trained]


def unflatten(flat: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return arrays of these shapes that lie one after another in a flat one, in order."""
    bounds = [0, *itertools.accumulate(math.prod(shape) for shape in shapes)]
    return [
        flat[start:end].reshape(shape)
        for (start, end), shape in zip(itertools.pairwise(bounds), shapes, strict=True)
    ]


def _linear(run: Pass, problem: Problem, features: Any) -> Any:
    return features


def _mlp(run: Pass, problem: Problem, features: Any) -> Any:
    signal = features
    for units in run.spec.hidden:
        signal = run.normalise(run.dense(signal, units, relu=True, normed=True))
        signal = run.drop(run.activate(signal))
    return signal


def _resnet(run: Pass, problem: Problem, features: Any) -> Any:
    """Add blocks to a stream.

    Gorishniy et al. 2021, Revisiting deep learning models for tabular data, section 3.2.
    """
    stream = run.dense(features, run.spec.width, normed=True)
    for units in run.spec.hidden:
        inner = run.dense(run.normalise(stream), units, relu=True)
        inner = run.drop(run.activate(inner))
        stream = stream + run.drop(run.dense(inner, run.spec.width, normed=True))
    return run.activate(run.normalise(stream))


def _cnn(run: Pass, problem: Problem, features: Any) -> Any:
    """Convolve over the window of past values, or over the features in their order."""
    ops, size = run.ops, run.spec.kernel_size
    sequence, beside = _window(run, problem, features) if problem.window else (features, None)
    rows, length = (int(count) for count in sequence.shape)
    signal = ops.reshape(sequence, (rows, length, 1))
    before, after = (size - 1) // 2, size // 2
    for channels in run.spec.hidden:
        width = int(signal.shape[-1])
        padded = ops.concat(
            [
                ops.zeros((rows, before, width), signal),
                signal,
                ops.zeros((rows, after, width), signal),
            ],
            1,
        )
        # A convolution as one product: each place's neighbours stand side by side.
        places = ops.concat([padded[:, place : place + length] for place in range(size)], 2)
        signal = run.normalise(run.dense(places, channels, relu=True, normed=True))
        signal = run.drop(run.activate(signal))
    flat = ops.reshape(signal, (rows, length * run.spec.hidden[-1]))
    return flat if beside is None else ops.concat([flat, beside], 1)


def _rnn(run: Pass, problem: Problem, features: Any) -> Any:
    """Read the window of past values from the oldest on; other features join at the end."""
    if not problem.window:
        raise RequestInvalid(
            "a recurrent network reads a window of past values, and this dataset has none",
            code="no_window",
            field="model.architecture",
            expected="a forecasting dataset with lags",
            received=f"{problem.inputs} features, none of them a lag of the target",
            remedy="add lags to the dataset's [forecast] table, or take another architecture",
        )
    ops = run.ops
    sequence, beside = _window(run, problem, features)
    rows, length = (int(count) for count in sequence.shape)
    signal = ops.reshape(sequence, (rows, length, 1))
    for units in run.spec.hidden:
        # Rows come first wherever values are dropped: which ones go counts from the first row.
        states = _CELLS[run.spec.cell](run, ops.transpose(signal, (1, 0, 2)), units)
        signal = run.drop(ops.transpose(states, (1, 0, 2)))
    last = run.normalise(signal[:, length - 1])
    return last if beside is None else ops.concat([last, beside], 1)


def _gru(run: Pass, signal: Any, units: int) -> Any:
    """Cho et al. 2014, with the reset after the product, as cuDNN, PyTorch and Keras have it."""
    ops = run.ops
    sigmoid, tanh = ops.activations["sigmoid"], ops.activations["tanh"]
    inputs = run.dense(signal, 3 * units)
    kernel = run.weight((units, 3 * units), "glorot")
    bias = run.weight((3 * units,), "zeros")

    def step(carry: tuple[Any, ...], given: Any) -> tuple[Any, ...]:
        (state,) = carry
        past = ops.matmul(state, kernel) + bias
        reset = sigmoid(given[:, :units] + past[:, :units])
        update = sigmoid(given[:, units : 2 * units] + past[:, units : 2 * units])
        fresh = tanh(given[:, 2 * units :] + reset * past[:, 2 * units :])
        return (fresh + update * (state - fresh),)

    return ops.scan(step, (ops.zeros((int(signal.shape[1]), units), signal),), inputs)


def _lstm(run: Pass, signal: Any, units: int) -> Any:
    """Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000)."""
    ops = run.ops
    sigmoid, tanh = ops.activations["sigmoid"], ops.activations["tanh"]
    inputs = run.dense(signal, 4 * units)
    kernel = run.weight((units, 4 * units), "glorot")

    def step(carry: tuple[Any, ...], given: Any) -> tuple[Any, ...]:
        state, memory = carry
        gates = given + ops.matmul(state, kernel)
        enter, forget = sigmoid(gates[:, :units]), sigmoid(gates[:, units : 2 * units])
        fresh, leave = tanh(gates[:, 2 * units : 3 * units]), sigmoid(gates[:, 3 * units :])
        memory = forget * memory + enter * fresh
        return leave * tanh(memory), memory

    start = ops.zeros((int(signal.shape[1]), units), signal)
    return ops.scan(step, (start, start), inputs)


def _transformer(run: Pass, problem: Problem, features: Any) -> Any:
    """Let features attend to each other; the first token gathers the answer.

    The FT-Transformer of Gorishniy et al. 2021, section 3.3, with pre-norm blocks (Vaswani et
    al. 2017).
    """
    stream = _tokens(run, features)
    for units in run.spec.hidden:
        stream = stream + run.drop(_attention(run, run.normalise(stream)))
        inner = run.activate(run.dense(run.normalise(stream), units, relu=True))
        stream = stream + run.drop(run.dense(run.drop(inner), run.spec.width))
    return run.activate(run.normalise(stream[:, 0]))


def _tokens(run: Pass, features: Any) -> Any:
    ops, width = run.ops, run.spec.width
    rows, inputs = (int(count) for count in features.shape)
    group = -(-inputs // run.spec.tokens)
    tokens = -(-inputs // group)
    padding = ops.zeros((rows, tokens * group - inputs), features)
    padded = ops.concat([features, padding], 1) if tokens * group > inputs else features
    groups = ops.transpose(ops.reshape(padded, (rows, tokens, group)), (1, 0, 2))
    kernel = run.weight((tokens, group, width), "token")
    made = ops.transpose(ops.matmul(groups, kernel), (1, 0, 2))
    made = made + run.weight((tokens, width), "token")
    first = ops.zeros((rows, 1, width), features) + run.weight((width,), "token")
    return ops.concat([first, made], 1)


def _attention(run: Pass, signal: Any) -> Any:
    ops, heads = run.ops, run.spec.heads
    rows, tokens, width = (int(count) for count in signal.shape)
    each = width // heads
    # Without a bias: that of the keys would have no gradient but rounding noise.
    mixed = ops.matmul(signal, run.weight((width, 3 * width), "glorot"))
    mixed = ops.reshape(mixed, (rows, tokens, 3 * heads, each))
    mixed = ops.transpose(mixed, (0, 2, 1, 3))
    query, key, value = (mixed[:, part * heads : (part + 1) * heads] for part in range(3))
    scores = ops.matmul(query * (1 / math.sqrt(each)), ops.transpose(key, (0, 1, 3, 2)))
    seen = ops.matmul(run.drop(ops.softmax(scores)), value)
    joined = ops.reshape(ops.transpose(seen, (0, 2, 1, 3)), (rows, tokens, width))
    return run.dense(joined, width)


def _window(run: Pass, problem: Problem, features: Any) -> tuple[Any, Any]:
    """Return the window [n, length], oldest first, and the other features, None without any."""
    window = set(problem.window)
    others = tuple(column for column in range(problem.inputs) if column not in window)
    beside = run.ops.take(features, others) if others else None
    return run.ops.take(features, problem.window), beside


_ARCHITECTURES: dict[str, Callable[[Pass, Problem, Any], Any]] = {
    "linear": _linear,
    "mlp": _mlp,
    "resnet": _resnet,
    "cnn": _cnn,
    "rnn": _rnn,
    "transformer": _transformer,
}
_CELLS = {"gru": _gru, "lstm": _lstm}
