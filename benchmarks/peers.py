"""Train one MLP with what users would otherwise pick; each form is a function of the data.

All do equal numerical work: the same widths, relu, Adam with the same hyperparameters, the same
batch size and number of epochs, float32, no validation and no callbacks of their own. Each
``make_…`` prepares the arrays and returns a function that trains from scratch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

HIDDEN = (64, 32)
LEARNING_RATE = 1e-3
Train = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """Hold one training: features float32 [n, 20], labels int64 [n], batch size, epochs."""

    features: np.ndarray
    labels: np.ndarray
    batch_size: int
    epochs: int


def _torch_model() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(20, HIDDEN[0]),
        nn.ReLU(),
        nn.Linear(HIDDEN[0], HIDDEN[1]),
        nn.ReLU(),
        nn.Linear(HIDDEN[1], 1),
    )


def make_raw_torch(work: Work) -> Train:
    """Write the loop by hand: an epoch permuted once and split, one fused Adam."""
    import torch

    features = torch.from_numpy(work.features)
    targets = torch.from_numpy(work.labels.astype(np.float32)[:, None])

    def train() -> Any:
        model = _torch_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        loss_of = torch.nn.BCEWithLogitsLoss()
        for _ in range(work.epochs):
            order = torch.randperm(len(features))
            for x, y in zip(
                features[order].split(work.batch_size),
                targets[order].split(work.batch_size),
                strict=True,
            ):
                optimizer.zero_grad(set_to_none=True)
                loss_of(model(x), y).backward()
                optimizer.step()
        return model

    return train


def make_bare_scan(work: Work) -> Train:
    """Write the epoch as one bare lax.scan, compiled once for its shapes: JAX at its best."""
    import jax
    import jax.numpy as jnp

    full = len(work.features) // work.batch_size * work.batch_size
    targets = work.labels.astype(np.float32)[:, None]

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        first, b1, second, b2, last, b3 = weights
        hidden = jax.nn.relu(jax.nn.relu(x @ first + b1) @ second + b2)
        outputs = hidden @ last + b3
        return (jax.nn.softplus(outputs) - y * outputs).mean()

    def update(state: Any, batch: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state[0], *batch)
        return _adam(state, gradients, jnp.sqrt), loss

    @jax.jit
    def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
        x, y = x[order], y[order]
        shaped = (a[:full].reshape(-1, work.batch_size, a.shape[1]) for a in (x, y))
        state, losses = jax.lax.scan(update, state, tuple(shaped))
        if full == len(order):
            return state, losses
        return update(state, (x[full:], y[full:]))

    def train() -> Any:
        state, losses = (*_start(work), 0.0), None
        x, y = jax.device_put(work.features), jax.device_put(targets)
        rng = np.random.default_rng(0)
        for _ in range(work.epochs):
            state, losses = epoch(state, x, y, rng.permutation(len(x)).astype(np.int32))
            losses.block_until_ready()
        return state

    return train


def _start(work: Work) -> Any:
    """Return weights and Adam's two moments."""
    rng = np.random.default_rng(0)
    weights = []
    for inputs, outputs in pairwise((work.features.shape[1], *HIDDEN, 1)):
        weights.append(rng.uniform(-0.2, 0.2, (inputs, outputs)).astype(np.float32))
        weights.append(np.zeros(outputs, np.float32))
    zeros = [np.zeros_like(w) for w in weights]
    return weights, zeros, zeros


def _adam(state: Any, gradients: Any, sqrt: Callable[[Any], Any]) -> Any:
    """Return weights, moments and the number of updates after one more."""
    weights, first, second, step = state
    step += 1
    rate = LEARNING_RATE * sqrt(1 - 0.999**step) / (1 - 0.9**step)
    first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
    weights = [
        w - rate * m / (sqrt(v) + 1e-8) for w, m, v in zip(weights, first, second, strict=True)
    ]
    return weights, first, second, step


def make_raw_tensorflow(work: Work) -> Train:
    """Write the epoch as one XLA function that gathers its batches: TensorFlow at its best."""
    import tensorflow as tf

    features = tf.constant(work.features)
    targets = tf.constant(work.labels.astype(np.float32)[:, None])
    rows, size = len(work.features), work.batch_size
    full = rows // size

    def update(state: Any, picked: Any) -> Any:
        x, y = tf.gather(features, picked), tf.gather(targets, picked)
        with tf.GradientTape() as tape:
            tape.watch(state[0])
            k1, b1, k2, b2, k3, b3 = state[0]
            outputs = tf.nn.relu(tf.nn.relu(x @ k1 + b1) @ k2 + b2) @ k3 + b3
            loss = tf.reduce_mean(tf.nn.softplus(outputs) - y * outputs)
        return _adam(state, tape.gradient(loss, state[0]), tf.sqrt)

    @tf.function(jit_compile=True, autograph=False)
    def epoch(state: Any, order: Any) -> Any:
        shaped = tf.reshape(order[: full * size], (full, size))
        _, state = tf.while_loop(
            lambda index, _: index < full,
            lambda index, state: (index + 1, update(state, shaped[index])),
            (0, state),
        )
        return state if full * size == rows else update(state, order[full * size :])

    def train() -> Any:
        state = [[tf.constant(a) for a in arrays] for arrays in _start(work)]
        state = (*state, tf.constant(0.0))
        rng = np.random.default_rng(0)
        for _ in range(work.epochs):
            state = epoch(state, tf.constant(rng.permutation(rows).astype(np.int32)))
            state[3].numpy()
        return state

    return train


def make_skorch(work: Work) -> Train:
    """Use skorch's NeuralNetBinaryClassifier with its callbacks and validation off."""
    import torch
    from skorch import NeuralNetBinaryClassifier

    labels = work.labels.astype(np.float32)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _torch_model()

        def forward(self, x: Any) -> Any:
            return self.layers(x).squeeze(1)

    def train() -> Any:
        net = NeuralNetBinaryClassifier(
            Flat,
            max_epochs=work.epochs,
            batch_size=work.batch_size,
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            train_split=None,
            callbacks="disable",
            iterator_train__shuffle=True,
            verbose=0,
        )
        return net.fit(work.features, labels)

    return train


def make_lightning(work: Work) -> Train:
    """Use a Lightning Trainer with logging, checkpoints and progress off."""
    import lightning
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(work.features), torch.from_numpy(work.labels.astype(np.float32)[:, None])
    )

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _torch_model()
            self.loss = torch.nn.BCEWithLogitsLoss()

        def training_step(self, batch: Any, index: int) -> Any:
            return self.loss(self.layers(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

    def train() -> Any:
        trainer = lightning.Trainer(
            max_epochs=work.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = torch.utils.data.DataLoader(data, batch_size=work.batch_size, shuffle=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(Module(), loader)
        return trainer

    return train


def _seed_keras() -> None:
    """Give keras the seed that it wants where TensorFlow is deterministic, as it is here.

    Once: a seed clears what TensorFlow has compiled, whoever comes next would pay for it.
    """
    import keras

    keras.utils.set_random_seed(0)


def _keras_model() -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((20,)),
            keras.layers.Dense(HIDDEN[0], activation="relu"),
            keras.layers.Dense(HIDDEN[1], activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


def make_keras(work: Work) -> Train:
    """Use keras' own fit on numpy arrays; each training builds and compiles its model."""
    _seed_keras()
    labels = work.labels.astype(np.float32)[:, None]

    def train() -> Any:
        return _keras_model().fit(
            work.features, labels, batch_size=work.batch_size, epochs=work.epochs, verbose=0
        )

    return train


def make_scikeras(work: Work) -> Train:
    """Use scikeras' KerasRegressor over the same keras model (its classifier wants a softmax)."""
    from scikeras.wrappers import KerasRegressor

    _seed_keras()
    labels = work.labels.astype(np.float32)

    def train() -> Any:
        return KerasRegressor(
            model=_keras_model, batch_size=work.batch_size, epochs=work.epochs, verbose=0
        ).fit(work.features, labels)

    return train


def make_sklearn_mlp(work: Work) -> Train:
    """Use scikit-learn's MLPClassifier for the same number of epochs."""
    from sklearn.neural_network import MLPClassifier

    def train() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MLPClassifier(
                HIDDEN,
                batch_size=work.batch_size,
                max_iter=work.epochs,
                n_iter_no_change=work.epochs + 1,
                learning_rate_init=LEARNING_RATE,
                alpha=0.0,
            ).fit(work.features, work.labels)

    return train
