from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml.core import contracts
from ml.core.descriptor import read_descriptor
from ml.datasets.fingerprint import content_sha256
from ml.datasets.load import load_table
from ml.datasets.stored import table_path

pytestmark = pytest.mark.contract

FOLDER = Path(contracts.__file__).parents[1] / "data"
PATHS = sorted(FOLDER.glob("*.toml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("data")
    for path in PATHS:
        shutil.copy(path, copied)
    return copied


@pytest.mark.parametrize("name", [path.stem for path in PATHS])
def test_a_shipped_dataset_materialises_to_what_it_declares(name, folder):
    path = folder / f"{name}.toml"
    descriptor = read_descriptor(path)
    table = load_table(path)
    assert table_path(descriptor, folder)[1]
    again = load_table(path)
    for field in dataclasses.fields(table):
        np.testing.assert_equal(getattr(again, field.name), getattr(table, field.name))
    assert content_sha256(table) == descriptor.content_sha256
    assert table.rows == descriptor.rows
    assert len(table.numeric_names) + len(table.categorical_names) + 1 == descriptor.columns
    assert not np.isinf(table.numeric).any()
    assert all(levels == tuple(sorted(set(levels))) for levels in table.levels)
    if table.classes:
        counts = np.bincount(table.target, minlength=len(table.classes))
        assert counts.min() > 0
        assert len(counts) == len(table.classes)
        if descriptor.positive is not None:
            assert table.classes[-1] == descriptor.positive
    else:
        assert np.isfinite(table.target).all()
    if table.split.rule == "time":
        assert (np.diff(table.time) >= 0).all()
    for reason in descriptor.drop.values():
        assert len(reason) > 7


def test_the_shipped_datasets_cover_what_was_asked_for():
    found = [read_descriptor(path) for path in PATHS]
    tags = [tag for descriptor in found for tag in descriptor.tags]
    wanted = {
        "churn": 1,
        "credit_default": 2,
        "house_prices": 1,
        "demand": 2,
        "multiclass": 1,
        "wide": 1,
        "missing_heavy": 1,
        "high_cardinality": 1,
        "tiny": 2,
        "large": 1,
    }
    assert {tag: tags.count(tag) >= count for tag, count in wanted.items()} == dict.fromkeys(
        wanted, True
    )
    assert all(d.split.rule == "time" for d in found if "demand" in d.tags)
    assert all(d.rows > 100_000 for d in found if "large" in d.tags)
    assert {"breast_cancer", "diabetes", "wine", "digits"} <= {d.id for d in found}
    assert len(found) >= 16
