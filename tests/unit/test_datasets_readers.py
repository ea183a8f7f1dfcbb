from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from ml.core.contracts import SplitRule
from ml.core.errors import DataInvalid, Unavailable
from ml.core.table import Table
from ml.datasets.frame_xz import read_frame_xz
from ml.datasets.readers import read_columns
from ml.datasets.settle import Rules, settle

pytestmark = pytest.mark.unit

NAMES = ["size", "colour, of it", "label"]
ROWS = [(1.5, "réd", "no"), (None, "blue", "yes"), (-3.0, None, "no"), (1e-7, "réd", "yes")]


def settled(content: bytes, format: str, name: str, **options: str) -> Table:
    columns = read_columns(content, format, name, **options)
    rules = Rules("t", "classification", "label", SplitRule(), forecast=None, positive=None)
    return settle(columns, rules)


def as_csv(separator: str) -> bytes:
    lines = [separator.join(f'"{name}"' for name in NAMES)]
    lines += [separator.join("" if cell is None else str(cell) for cell in row) for row in ROWS]
    return "\r\n".join([*lines, ""]).encode()


def as_frame():
    import pandas as pd

    columns = list(zip(*ROWS, strict=True))
    frame = pd.DataFrame({"size": np.array(columns[0], dtype=float)})
    for name, values in zip(NAMES[1:], columns[1:], strict=True):
        frame[name] = pd.Series(values, dtype=object)
    frame.columns = pd.Index(NAMES, dtype=object)
    return frame


def as_parquet() -> bytes:
    file = io.BytesIO()
    as_frame().to_parquet(file, index=False)
    return file.getvalue()


def as_xlsx(sheet: str = "Sheet1") -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["another sheet"])
    found = book.create_sheet(sheet, 0)
    for row in [NAMES, *ROWS]:
        found.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def as_xls() -> bytes:
    """Write the least workbook that BIFF8 in an OLE2 container allows."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    def text(value: str) -> bytes:
        return b"\x01" + value.encode("utf-16-le")

    cells = b""
    for row, values in enumerate([NAMES, *ROWS]):
        for column, value in enumerate(values):
            place = struct.pack("<HHH", row, column, 0)
            if isinstance(value, str):
                cells += record(0x204, place + struct.pack("<H", len(value)) + text(value))
            elif value is not None:
                cells += record(0x203, place + struct.pack("<d", value))
    opening = [record(0x809, struct.pack("<HHHHII", 0x600, kind, 0, 0, 0, 0)) for kind in (5, 16)]
    end = record(0x0A, b"")
    name = bytes([5]) + text("Table")
    start = len(opening[0]) + 4 + 6 + len(name) + len(end)
    sheet = record(0x85, struct.pack("<IH", start, 0) + name)
    stream = (opening[0] + sheet + end + opening[1] + cells + end).ljust(4096, b"\0")
    assert len(stream) == 4096
    chain = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 10), 0xFFFFFFFE]
    fat = struct.pack("<128I", *chain, *[0xFFFFFFFF] * (128 - len(chain)))
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII",
        bytes.fromhex("D0CF11E0A1B11AE1"),
        b"", 0x3E, 3, 0xFFFE, 9, 6, b"", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0,
    )  # fmt: skip
    header += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)

    def entry(title: str, kind: int, child: int, first: int, size: int) -> bytes:
        wide = title.encode("utf-16-le") + b"\0\0"
        links = struct.pack("<HBBIII", len(wide), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
        return wide.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", first, size)

    folder = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry("Workbook", 2, 0xFFFFFFFF, 2, 4096)
    return header + fat + folder.ljust(512, b"\0") + stream


def as_hdf5_group() -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", track_order=True) as written:
        group = written.create_group("rows", track_order=True)
        columns = list(zip(*ROWS, strict=True))
        group["size"] = np.array(columns[0], dtype=float)
        for name, values in zip(NAMES[1:], columns[1:], strict=True):
            group[name] = [value or "" for value in values]
    return file.getvalue()


def as_hdf5_compound() -> bytes:
    import h5py

    text = h5py.string_dtype()
    rows = np.array(
        [(np.nan if row[0] is None else row[0], row[1] or "", row[2]) for row in ROWS],
        dtype=[(NAMES[0], "<f8"), (NAMES[1], text), (NAMES[2], text)],
    )
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        written["table"] = rows
    return file.getvalue()


def as_frame_xz() -> bytes:
    return lzma.compress(pickle.dumps(as_frame(), protocol=4))


RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
FORMATS = {
    "a.csv": ("csv", lambda: as_csv(";")),
    "a.tsv": ("csv", lambda: b"\xef\xbb\xbf" + as_csv("\t")),
    "a.csv.gz": ("csv", lambda: gzip.compress(as_csv(";"))),
    "a.csv.bz2": ("csv", lambda: bz2.compress(as_csv("|"))),
    "a.csv.xz": ("csv", lambda: lzma.compress(as_csv(";"))),
    "records.json": ("json", lambda: json.dumps(RECORDS).encode()),
    "columns.json": (
        "json",
        lambda: json.dumps({name: [row[name] for row in RECORDS] for name in NAMES}).encode(),
    ),
    "lines.jsonl": ("json", lambda: "\n".join(map(json.dumps, RECORDS)).encode()),
    "a.parquet": ("parquet", as_parquet),
    "a.xlsx": ("xlsx", as_xlsx),
    "a.xls": ("xls", as_xls),
    "group.h5": ("hdf5", as_hdf5_group),
    "compound.h5": ("hdf5", as_hdf5_compound),
    "a.pkl.compress": ("frame_xz", as_frame_xz),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_table(name):
    format, write = FORMATS[name]
    table = settled(write(), format, name)
    np.testing.assert_array_equal(table.numeric[:, 0], [1.5, np.nan, -3.0, 1e-7])
    assert table.numeric_names == ("size",)
    assert table.categorical_names == ("colour, of it",)
    assert table.levels == (("blue", "réd"),)
    assert table.categorical[:, 0].tolist() == [1, 0, -1, 1]
    assert table.classes == ("no", "yes")
    assert table.target.tolist() == [0, 1, 0, 1]
    reference = settled(as_csv(";"), "csv", "reference.csv")
    assert table.content_sha256 == reference.content_sha256


def test_a_sheet_is_found_by_its_name_and_an_unknown_one_is_named():
    content = as_xlsx("Prices")
    assert settled(content, "xlsx", "a.xlsx", sheet="Prices").rows == 4
    with pytest.raises(DataInvalid, match=r"a\.xlsx has no sheet 'prices'.*did you mean 'Prices'"):
        read_columns(content, "xlsx", "a.xlsx", sheet="prices")


def test_dates_of_a_spreadsheet_become_iso_text():
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["day", "moment", 7])
    book.active.append([datetime.date(2020, 1, 31), datetime.datetime(2020, 1, 31, 4, 5), True])
    file = io.BytesIO()
    book.save(file)
    columns = read_columns(file.getvalue(), "xlsx", "a.xlsx")
    assert {name: list(column) for name, column in columns.items()} == {
        "day": ["2020-01-31"],
        "moment": ["2020-01-31T04:05:00"],
        "7": [True],
    }


@pytest.mark.parametrize(
    ("format", "content", "code", "message"),
    [
        ("csv", b"a,b\n1,2\n3\n", "ragged", r"f, line 3 is ragged; expected 2 values"),
        ("csv", b"a,b\n1,2,3\n", "ragged", r"line 2 is ragged.*received 3"),
        ("csv", b"a,b,a\n1,2,3\n", "duplicate_column", r"two columns named 'a'"),
        ("csv", b"", "no_rows", r"f is empty"),
        ("csv", "a,b\n1,é\n".encode("latin-1"), "text_not_unicode", r"f, line 2 is not UTF-8"),
        ("csv", b'a,b\n1,"2\n', "source_unreadable", r"f cannot be read as csv"),
        ("json", b"3", "source_unreadable", r"f holds no table"),
        ("json", b'{"a": [1, 2], "b": [1]}', "ragged", r"2 values, as in 'a'; received 1 in 'b'"),
        ("json", b'[{"a": {"b": 1}}]', "value_not_scalar", r"column 'a', row 1 holds a dict"),
        ("json", b"{", "source_unreadable", r"f cannot be read as json"),
        ("parquet", b"PAR1 no", "source_unreadable", r"f cannot be read as parquet"),
        ("xlsx", b"no", "source_unreadable", r"f cannot be read as xlsx"),
        ("hdf5", b"no", "source_unreadable", r"f cannot be read as hdf5"),
        ("frame_xz", b"no", "source_unreadable", r"f is no readable xz-compressed frame"),
        ("frame_xz", lzma.compress(pickle.dumps([1])), "source_unreadable", "received list"),
    ],
)
def test_a_bad_file_is_named_with_its_place(format, content, code, message):
    with pytest.raises(DataInvalid, match=message) as caught:
        read_columns(content, format, "f")
    assert caught.value.code == code


class Malice:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path):
    mark = tmp_path / "mark"
    content = lzma.compress(pickle.dumps(Malice(f"touch {mark}")))
    pickle.loads(lzma.decompress(content))
    assert mark.exists(), "the pickle is malicious indeed"
    mark.unlink()
    with pytest.raises(DataInvalid, match=r"asks for posix\.system") as caught:
        read_frame_xz(content, "f")
    assert caught.value.code == "unsafe_pickle"
    assert not mark.exists()


def test_a_pickle_may_not_walk_from_an_allowed_module_to_another():
    content = lzma.compress(b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.os.sep\x93.")
    with pytest.raises(DataInvalid, match=r"asks for numpy\.f2py\.os\.sep"):
        read_frame_xz(content, "f")


def test_hdf5_never_unpickles(tmp_path: Path):
    import h5py

    mark = tmp_path / "mark"
    harm = np.frombuffer(pickle.dumps(Malice(f"touch {mark}"), protocol=0), dtype=np.uint8)
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        written["group/a"], written["group/b"] = [1.0, 2.0], [3.0, 4.0]
        written["group"].attrs["values_cols"] = np.bytes_(harm.tobytes())
        written["group"].attrs["TITLE"] = harm
    columns = read_columns(file.getvalue(), "hdf5", "a.h5")
    assert columns["b"].tolist() == [3.0, 4.0]
    assert not mark.exists()


def test_pandas_hdf5_is_read_where_it_is_plain_and_refused_where_it_is_pickled(tmp_path: Path):
    pytest.importorskip("tables")
    path = tmp_path / "a.h5"
    frame = as_frame().rename(columns={"colour, of it": "colour"})
    frame["colour"] = frame["colour"].fillna("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_hdf(path, key="plain", format="table", data_columns=True)
        frame.to_hdf(path, key="blocks", format="table")
        frame.to_hdf(path, key="fixed", format="fixed")
    content = path.read_bytes()
    table = settled(content, "hdf5", "a.h5", key="plain")
    assert table.numeric_names == ("size",)
    assert table.levels == (("blue", "réd"),)
    assert table.categorical[:, 0].tolist() == [1, 0, -1, 1]
    for key in ("blocks", "fixed"):
        with pytest.raises(DataInvalid, match="data_columns=True") as caught:
            read_columns(content, "hdf5", "a.h5", key=key)
        assert caught.value.code == "unsafe_pickle"
    with pytest.raises(DataInvalid, match="holds 3 tables"):
        read_columns(content, "hdf5", "a.h5")
    with pytest.raises(DataInvalid, match="did you mean 'plain'"):
        read_columns(content, "hdf5", "a.h5", key="plane")


def test_a_missing_library_is_unavailable_with_its_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(Unavailable, match=r"pip install 'pytest-mlmatrix\[datasets\]'"):
        read_columns(as_xlsx(), "xlsx", "a.xlsx")
