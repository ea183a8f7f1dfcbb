"""Let every process of a test run share what JAX compiles, so that each form is compiled once."""

import os
import shutil
import tempfile

import pytest

FOLDER = pytest.StashKey[str]()


def pytest_configure(config):
    # Workers of xdist, of the matrix and of pytester inherit the environment.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.stash[FOLDER] = tempfile.mkdtemp(prefix="mlmatrix-jax-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.stash[FOLDER]
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure(config):
    folder = config.stash.get(FOLDER, None)
    if folder is not None:
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
        shutil.rmtree(folder, ignore_errors=True)
