"""Follow imports through a small tree of files, and see every change that a cell would see."""

from importlib.metadata import version

import pytest

from harness.store.sources import ABSENT, Sources, project_roots

pytestmark = pytest.mark.unit

TREE = {
    "shop/__init__.py": "",
    "shop/model.py": """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        import numpy as np
        from shop import helper
        from .deep.parts import gear
        if TYPE_CHECKING:
            import shop.only_for_types
        def build():
            import importlib
            import shop.late
            return importlib.import_module("shop.by_name")
    """,
    "shop/helper.py": "import pandas.api",
    "shop/late.py": "from . import deep",
    "shop/by_name.py": "x = 1",
    "shop/only_for_types.py": "x = 1",
    "shop/unused.py": "x = 1",
    "shop/broken.py": "def (",
    "shop/deep/__init__.py": "from ..sideways import *",
    "shop/deep/parts.py": "gear = 1",
    "shop/sideways.py": "import json",
}
REACHED = {
    "shop",
    "shop.model",
    "shop.helper",
    "shop.late",
    "shop.by_name",
    "shop.deep",
    "shop.deep.parts",
    "shop.sideways",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
        path.write_text("\n".join(line[indent:] for line in lines))
    return tmp_path


def digests(tree, entry="shop.model"):
    modules, _ = Sources([tree]).closure([entry])
    return {name: module.digest for name, module in modules.items()}


def test_a_closure_has_what_is_imported_in_any_way_and_nothing_else(tree):
    modules, packages = Sources([tree]).closure(["shop.model"])
    assert set(modules) == REACHED
    assert packages == {"numpy", "pandas"}
    assert modules["shop.deep"].path == tree / "shop/deep/__init__.py"


@pytest.mark.parametrize("name", sorted(TREE))
def test_a_change_of_a_file_changes_its_hash_alone(tree, name):
    before = digests(tree)
    path = tree / name
    path.write_text(path.read_text() + "\n# changed\n")
    after = digests(tree)
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    changed = {each for each in before if before[each] != after[each]}
    assert changed == ({module} & REACHED)


def test_a_file_that_is_no_python_counts_by_its_content(tree):
    assert set(digests(tree, "shop.broken")) == {"shop", "shop.broken"}


def test_versions_are_those_of_the_packages_and_of_what_they_require():
    found = Sources([]).versions(["sklearn", "yamlish_that_is_not_installed"])
    assert found["scikit-learn"] == version("scikit-learn")
    assert {"numpy", "scipy", "joblib"} <= set(found)
    assert found["yamlish-that-is-not-installed"] == ABSENT
    assert "pytest" not in found  # asked for by extras alone


def test_a_worker_enters_its_own_framework_and_no_other(tmp_path):
    sources = Sources([tmp_path])
    modules, packages = sources.closure(["ml.worker", "ml.sklearn"])
    assert {"ml.core.splits", "ml.core.metrics", "ml.frameworks.sklearn.trainer"} <= set(modules)
    assert not [name for name in modules if "torch" in name or "jax" in name]
    assert {"sklearn", "pandas"} <= packages
    assert not {"torch", "tensorflow", "jax"} & packages


def test_a_project_is_looked_for_at_its_root_and_on_the_path_and_not_among_packages(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    roots = project_roots(tmp_path / "project")
    assert roots[:3] == (tmp_path / "project", tmp_path / "project/src", tmp_path)
    assert not [root for root in roots if "site-packages" in str(root)]
