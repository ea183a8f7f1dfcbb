"""Say which networks JAX computes as one, and how many of them are worth it."""

from __future__ import annotations

import math
from collections.abc import Hashable

import jax

from ml.core.batches import LARGEST_BLOCK, bucket
from ml.core.cohort import Together
from ml.core.learner import Member
from ml.core.optimizers import compiled_form
from ml.frameworks.jax.trainer import JaxSteppers

# On an accelerator, which a small network leaves idle for the most part.
MOST = 8


def shape_of(member: Member) -> Hashable:
    """Return what members have in common that can be one computation, None without rows.

    They may differ in seeds, rows, learning rate, schedule, epochs and patience; all else is
    compiled in.
    """
    spec, rows = member.spec, member.train.rows
    if rows == 0:
        return None
    held = member.validation.rows if member.validation else 0
    return (
        (compiled_form(spec).model_dump_json(), spec.class_weight, member.problem),
        (bucket(rows), math.ceil(rows / spec.batch_size)),
        (min(bucket(held), LARGEST_BLOCK), math.ceil(held / LARGEST_BLOCK)),
    )


def pays(member: Member) -> int:
    """Return how many models of a member's shape are worth to be computed as one.

    A compiled epoch on a CPU leaves nothing between its products that could be saved, as
    benchmarks/many_models.py shows.
    """
    device = jax.config.jax_default_device or jax.devices()[0]
    return 1 if device.platform == "cpu" else MOST


TOGETHER = Together(shape_of, pays, JaxSteppers)
