"""Test a pool of rows: all statistics of all dimensions, in all permutations."""

from __future__ import annotations

from dataclasses import dataclass

from ml.core.seeding import stream
from ml.health.encoded import nearest, pair_columns, score_rows
from ml.health.families import Family, Judged, judge_families
from ml.health.hashing import Hashes
from ml.health.joint import (
    compare_correlations,
    compare_information,
    compare_neighbours,
    compare_repeats,
)
from ml.health.marginal import compare_columns, compare_words, count_bins
from ml.health.permute import permute_groups, permute_rows
from ml.health.pool import Pool, bin_columns


@dataclass(frozen=True)
class Tested:
    """Hold every statistic in every permutation, and what was judged of them."""

    families: tuple[Family, ...]
    judged: Judged


def judge_pool(
    pool: Pool,
    *,
    grouped: bool,
    seed: int,
    repeated: tuple[Hashes, int] | None = None,
    copies: bool = True,
) -> Tested:
    """Return all eight dimensions of a pool, whole groups permuted where ``grouped``.

    ``repeated`` are the hashes of rows, and how many of them are the reference's, by which
    uniqueness is judged: of large tables, in whose samples hardly a row would occur twice.
    Without ``copies`` rows that stand on both sides count for nothing.
    """
    draw = stream(seed, "health", "permutations")
    if grouped:
        labels = permute_groups(pool.groups, pool.reference, draw)
    else:
        labels = permute_rows(pool.reference, pool.candidate, draw)
    measured, coded = bin_columns(pool)
    counts = count_bins(measured + coded, labels)
    numbers, categories = counts[: len(measured)], counts[len(measured) :]
    families = compare_columns(measured, numbers, coded, categories)
    families += compare_words(pool.tokens, [column.name for column in pool.layout.texts], labels)
    scores = score_rows(pool)
    families += compare_correlations(scores, labels)
    families += compare_information(pair_columns(pool), labels)
    if scores.values.shape[1]:
        families += compare_neighbours(
            nearest(scores, stream(seed, "health", "neighbours")), labels
        )
    if repeated is None or not 0 < repeated[1] < len(repeated[0]):
        families += compare_repeats(pool.hashes, labels)
    else:
        hashes, first = repeated
        others = stream(seed, "health", "repeats")
        families += compare_repeats(hashes, permute_rows(first, len(hashes) - first, others))
    families = [family for family in families if copies or family.name != "copies"]
    return Tested(tuple(families), judge_families(families))
