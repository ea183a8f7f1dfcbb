"""Compute what several models minimise side by side, each to the bits that it has alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ml.core.learner import Distillation, Problem
from ml.frameworks.pytorch.layout import VECTOR


def join_problems(problems: Sequence[Problem]) -> tuple[Problem, bool]:
    """Return the problem of all models, and whether it is that of each.

    Where students differ in their rules, these are arrays [K, 1, 1].
    """
    rules = [problem.distillation for problem in problems if problem.distillation]
    if all(rule == rules[0] for rule in rules):
        return problems[0], True
    columns = zip(*((rule.temperature, rule.soft_share) for rule in rules), strict=True)
    joint: Any = [torch.tensor(column)[:, None, None] for column in columns]
    return replace(problems[0], distillation=Distillation(*joint)), False


def each_alone(gradient: Callable[[Any, Any], Any], outputs: Any, wanted: Any) -> Any:
    """Return the gradients of several models to the bits that each of them has alone."""
    if outputs.shape[2] > 1 or outputs.shape[1] % VECTOR == 0:
        return gradient(outputs, wanted)
    # What is left over of a processor's vectors has other last bits.
    parts = zip(outputs.split(1), wanted.split(1), strict=True)
    return torch.cat([gradient(given, one) for given, one in parts])


def weigh_gradient(
    gradient: Callable[[Any, Any], Any],
    wanted: torch.Tensor,
    share: torch.Tensor | None,
    count: Any,
    missing: torch.Tensor | None,
    outputs: torch.Tensor,
) -> torch.Tensor:
    """Return the gradient of each model's mean loss over a batch, by the outputs [K, n, outputs].

    ``share`` are the rows' weights [K, n, 1] and ``missing`` tells the rows that a model has not;
    both are None where rows are all alike. ``count`` is the number of rows, of each [K, 1, 1].
    """
    rows: torch.Tensor = gradient(outputs, wanted)
    rows = rows.div_(count) if share is None else rows.mul_(share / count)
    return rows if missing is None else rows.masked_fill_(missing, 0)
