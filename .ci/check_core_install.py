"""Check an environment that has only the core install: no framework, and skips that say so."""

import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

HEAVY = {"torch", "tensorflow", "tensorflow-cpu", "scikit-learn", "jax", "pandas", "pyarrow"}
TEST = """
import pytest

@pytest.mark.smoke
@pytest.mark.matrix(dataset="wine")
def test_wine(cell):
    cell.run()
"""

installed = {distribution.name.lower() for distribution in distributions()}
assert not installed & HEAVY, installed & HEAVY
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "test_wine.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
print(done.stdout)
assert done.returncode == 0, done.stderr
for extra in ("sklearn", "torch", "tensorflow"):
    assert f"run: pip install 'pytest-mlmatrix[{extra}]'" in done.stdout, extra
assert "14 skipped" in done.stdout
