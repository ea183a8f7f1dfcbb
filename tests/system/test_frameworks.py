"""Ask every framework how it is: through its entry point, the worker, and `mlmatrix frameworks`."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from entry_points import entry_point_or_skip

from harness.catalog.frameworks import FRAMEWORKS
from harness.cli import main
from ml.core.contracts import Failure, FrameworkStatus, parse_status
from ml.registry import ENTRY_POINTS
from ml.worker import serve

pytestmark = pytest.mark.system

SCRIPT = Path(sys.executable).with_name("mlmatrix")


def rows_of(text):
    """Return the table's lines by framework, and the reasons that stand below it."""
    table, _, reasons = text.partition("\n\n")
    header, *lines = table.splitlines()
    names = header.split()
    assert names == [
        "framework",
        "health",
        "version",
        "devices",
        "device",
        "threads",
        "start",
        "training",
    ]
    rows = {line.split()[0]: line.replace(" s", "").split() for line in lines}
    return {name: dict(zip(names, row, strict=True)) for name, row in rows.items()}, reasons


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_framework_tells_its_versions_devices_and_threads(framework):
    module = entry_point_or_skip(framework)
    status = parse_status(json.dumps(module.handle_status_request({})))
    assert isinstance(status, FrameworkStatus)
    assert status.framework == framework
    assert all(text[0].isdigit() for text in status.versions.values())
    assert {name.partition(":")[0] for name in status.devices} <= {"cpu", "cuda", "gpu", "tpu"}
    assert status.device in status.devices
    assert status.threads == 1
    assert parse_status(serve(framework, "status", "{}")) == status


def test_the_worker_answers_for_a_framework_that_there_is_not():
    failure = parse_status(serve("keras", "status", "{}"))
    assert isinstance(failure, Failure)
    assert failure.error.code == "unknown_framework"


def test_a_warm_worker_collects_no_more_what_it_imported():
    try:
        assert json.loads(serve("sklearn", "warm", "{}")) == {"pid": os.getpid()}
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_what_is_installed_is_in_order(capsys):
    assert main(["frameworks", "--threads", "2"]) == 0
    rows, reasons = rows_of(capsys.readouterr().out)
    assert list(rows) == list(FRAMEWORKS)
    for framework, entry in FRAMEWORKS.items():
        row = rows[framework]
        assert (row["health"], row["device"], row["threads"]) == (
            ("missing", "–", "–") if entry.missing else ("ok", row["devices"].split(",")[-1], "2")
        )
        if entry.missing:
            assert f"{framework}: {entry.missing}" in reasons
        else:
            assert row["version"][0].isdigit()
            assert float(row["training"]) < 60
            assert framework not in reasons


def test_missing_and_broken_frameworks_are_named_and_the_others_go_on(tmp_path):
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is torn')\n")
    (tmp_path / "jax.py").write_text("import jaxlib_that_is_gone\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [SCRIPT, "frameworks"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    rows, reasons = rows_of(done.stdout)
    assert done.returncode == 1, done.stderr
    assert {name: row["health"] for name, row in rows.items()} == {
        "sklearn": "missing" if FRAMEWORKS["sklearn"].missing else "ok",
        "pytorch": "error",
        "tensorflow": "missing",
        "jax": "error",
    }
    assert reasons.splitlines()[-3:] == [
        "pytorch: the worker raised ImportError: libtorch is torn; "
        "reinstall it: pip install 'pytest-mlmatrix[torch]'",
        "tensorflow: the module 'tensorflow' is not installed; "
        "run: pip install 'pytest-mlmatrix[tensorflow]'",
        "jax: the worker raised ModuleNotFoundError: No module named 'jaxlib_that_is_gone'; "
        "reinstall it: pip install 'pytest-mlmatrix[jax]'",
    ]
