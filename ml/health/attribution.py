"""Attribute what a small network says of a row to its columns, by integrated gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.seeding import stream

Gradients = NDArray[np.float64]
HIDDEN = 32
EPOCHS = 150
STEPS = 64
INSTALL = "pip install 'pytest-mlmatrix[health]'"


def attribute_rows(
    values: NDArray[np.float32], first: int, rows: NDArray[np.int64], seed: int
) -> tuple[Gradients | None, str | None]:
    """Return the integrated gradients of these rows, float64 [rows, w], or why there are none.

    A network of one hidden layer learns to tell rows [n, w] from ``first`` on from those before.
    Its logit's gradient is integrated from the reference's mean row to each row (Sundararajan et
    al. 2017), so that a row's attributions sum to the difference of the two logits. captum does
    it where it is installed.
    """
    try:
        import torch
    except ImportError:
        return None, f"columns have no integrated gradients, as torch is not installed: {INSTALL}"
    network = train_network(values, first, seed)
    inputs = torch.from_numpy(values[rows])
    baseline = torch.from_numpy(values[:first].mean(axis=0, keepdims=True))
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        return integrate(network, inputs, baseline), None
    found = IntegratedGradients(network).attribute(
        inputs, baseline, n_steps=STEPS, method="gausslegendre"
    )
    return found.detach().numpy().astype(np.float64), None


def integrate(network: Any, inputs: Any, baseline: Any) -> Gradients:
    """Integrate a network's gradient from a baseline [1, w] to inputs [n, w], by Gauss-Legendre."""
    import torch

    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    total = torch.zeros_like(inputs)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        points = (baseline + node * (inputs - baseline)).requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(points).sum(), points)
        total += weight * gradient
    return np.asarray((total * (inputs - baseline)).numpy(), dtype=np.float64)


def train_network(values: NDArray[np.float32], first: int, seed: int) -> Any:
    """Return a network that tells rows [n, w] from ``first`` on from those before, as a logit."""
    import torch

    draw = stream(seed, "health", "attribution")
    width = values.shape[1]
    shapes = [(width, HIDDEN), (1, HIDDEN), (HIDDEN, 1), (1, 1)]
    weights = [
        torch.from_numpy((draw.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32))
        if shape[0] > 1
        else torch.zeros(shape)
        for shape in shapes
    ]
    for weight in weights:
        weight.requires_grad_(True)
    inputs = torch.from_numpy(values)
    sides = torch.zeros(len(values))
    sides[first:] = 1.0
    # Both sides weigh alike, however many rows they have.
    balance = torch.tensor(first / max(1, len(values) - first))

    def network(rows: Any) -> Any:
        hidden = torch.tanh(rows @ weights[0] + weights[1])
        return (hidden @ weights[2] + weights[3])[:, 0]

    optimizer = torch.optim.AdamW(weights, lr=0.02, weight_decay=0.01)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=balance)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss(network(inputs), sides).backward()
        optimizer.step()
    for weight in weights:
        weight.requires_grad_(False)
    return network
