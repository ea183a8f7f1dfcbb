"""Bring the index up to date from the journals: only what was appended since is parsed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.store.journal import BENCHMARKS, JOURNAL, describe_damage
from harness.store.migrations import RECORD_VERSION, NewerVersion
from harness.store.record import End, Head, Record, Rerun, Resumed, TestLine, Timing, parse_line
from harness.store.rows import (
    COLUMNS,
    environment_of,
    hash_environment,
    row_of_record,
    row_of_timing,
)

# Raised where a column means something else, and its name does not tell.
MEANING = 2
FOLDERS = {"matrix": "runs", "benchmark": BENCHMARKS}
JSON_COLUMNS = ("replicates", "splits", "distillation")

SCHEMA = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, head BLOB, environment TEXT,
    parts TEXT, resumed TEXT NOT NULL, end BLOB, seconds REAL, failing TEXT NOT NULL,
    damage TEXT NOT NULL, torn TEXT, read INTEGER NOT NULL, lines INTEGER NOT NULL,
    digest BLOB NOT NULL, size INTEGER NOT NULL,
    changed INTEGER NOT NULL, UNIQUE (kind, name)
);
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, cell TEXT NOT NULL UNIQUE, dataset TEXT, algorithm TEXT,
    framework TEXT, mode TEXT, task TEXT
);
CREATE TABLE results (
    cell_id INTEGER NOT NULL, run_id INTEGER NOT NULL, {", ".join(f'"{n}"' for n in COLUMNS)},
    PRIMARY KEY (cell_id, run_id)
) WITHOUT ROWID;
CREATE TABLE reruns (
    cell_id INTEGER NOT NULL, run_id INTEGER NOT NULL, start INTEGER NOT NULL,
    measure TEXT NOT NULL, value REAL NOT NULL, calibration REAL,
    PRIMARY KEY (cell_id, run_id, start, measure)
) WITHOUT ROWID;
CREATE INDEX results_by_run ON results (run_id, state, outcome);
"""
# An index that was made of other tables, or by a reader of other records, is none of ours.
INDEX_VERSION = zlib.crc32(f"{SCHEMA}{RECORD_VERSION} {MEANING}".encode()) & 0x7FFFFFFF
INSERT = f"INSERT OR REPLACE INTO results VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"  # noqa: S608

_all_columns = attrgetter(*COLUMNS)
_json_places = [COLUMNS.index(name) for name in JSON_COLUMNS]


@dataclass
class Reading:
    """Hold how far a journal was read, and what of it is no row of a cell.

    ``failing`` has the tests that failed: the session that they did so in, by its number, and the
    cell of each of their lines.
    """

    kind: str
    name: str
    head: Head | None = None
    resumed: list[Resumed] = field(default_factory=list)
    end: End | None = None
    seconds: float | None = None
    failing: dict[str, tuple[int, list[str | None]]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    torn: str | None = None
    read: int = 0
    lines: int = 0
    digest: bytes = b""


def has_schema(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables are there and of today's version."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version == INDEX_VERSION


def make_schema(connection: sqlite3.Connection) -> None:
    """Make the tables anew unless they are of today's version; what they held is dropped."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if has_schema(connection):
            return
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in names.fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {INDEX_VERSION}")


def update(connection: sqlite3.Connection, reports: Path) -> None:
    """Read what the journals have more than the index, and forget runs that are gone.

    Each run is a transaction, so that processes that do this at once take turns and a reader
    never sees half a run.
    """
    there = {(kind, name): stamp for kind, name, stamp in _list_journals(reports)}
    query = "SELECT kind, name, size, changed FROM runs"
    known = {(row[0], row[1]): row[2:] for row in connection.execute(query)}
    for kind, name in sorted(known.keys() - there.keys()):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            _forget(connection, kind, name)
    for kind, name in sorted(there):
        if known.get((kind, name)) != there[kind, name]:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                _read_on(connection, reports, kind, name)


def _list_journals(reports: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    for kind, folder in FOLDERS.items():
        for path in (reports / folder).glob(f"*/{JOURNAL}"):
            try:
                stat = path.stat()
            except OSError:
                continue
            yield kind, path.parent.name, (stat.st_size, stat.st_mtime_ns)


def _forget(connection: sqlite3.Connection, kind: str, name: str) -> None:
    which = "(SELECT id FROM runs WHERE kind = ? AND name = ?)"
    connection.execute(f"DELETE FROM results WHERE run_id = {which}", (kind, name))  # noqa: S608
    connection.execute(f"DELETE FROM reruns WHERE run_id = {which}", (kind, name))  # noqa: S608
    connection.execute("DELETE FROM runs WHERE kind = ? AND name = ?", (kind, name))


def _read_on(connection: sqlite3.Connection, reports: Path, kind: str, name: str) -> None:
    path = reports / FOLDERS[kind] / name / JOURNAL
    row = connection.execute("SELECT * FROM runs WHERE kind = ? AND name = ?", (kind, name))
    reading = _restore(row.fetchone()) or Reading(kind, name)
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            stat = os.fstat(stream.fileno())
            content = stream.read()
    except FileNotFoundError:
        return
    except OSError as problem:
        _forget(connection, kind, name)
        damage = f"{path} cannot be read: {problem.strerror}"
        _save(connection, Reading(kind, name, damage=[damage]), -1, -1)
        return
    if _hash(content[: reading.read]) != reading.digest:
        # It is shorter, or another journal than the one that was read.
        reading = Reading(kind, name)
    if reading.read == 0:
        _forget(connection, kind, name)
    run_id = _save(connection, reading, stat.st_size, stat.st_mtime_ns)
    rows = list(_take(connection, reading, path, content[reading.read :], run_id))
    connection.executemany(INSERT, rows)
    reading.digest = _hash(content[: reading.read])
    _save(connection, reading, stat.st_size, stat.st_mtime_ns)


def _take(
    connection: sqlite3.Connection, reading: Reading, path: Path, content: bytes, run_id: int
) -> Iterator[tuple[Any, ...]]:
    """Read the lines that follow, and yield the rows of cells."""
    start = 0
    reading.torn = None
    while start < len(content):
        stop = content.find(b"\n", start)
        text = content[start:stop] if stop >= 0 else content[start:]
        if text.strip():
            try:
                line = parse_line(text)
            except (ValidationError, NewerVersion) as problem:
                sentence = describe_damage(path, reading.lines + 1, problem)
                if stop < 0:
                    # The next one to write closes it; until then it may not be whole.
                    reading.torn = sentence
                    return
                reading.damage.append(sentence)
            else:
                place = reading.read, len(text) + (stop >= 0)
                if isinstance(line, Rerun):
                    _save_rerun(connection, line, run_id, place[0])
                row = _note(reading, line, place)
                if row is not None:
                    assert isinstance(line, Record | Timing)
                    yield (_cell_id(connection, line), run_id, *row)
        if stop < 0:
            reading.read += len(text)
            return
        reading.read += stop + 1 - start
        reading.lines += 1
        start = stop + 1


def _save_rerun(connection: sqlite3.Connection, line: Rerun, run_id: int, start: int) -> None:
    query = "SELECT id FROM cells WHERE cell = ?"
    for (cell_id,) in connection.execute(query, (line.cell,)).fetchall():
        connection.executemany(
            "INSERT OR REPLACE INTO reruns VALUES (?, ?, ?, ?, ?, ?)",
            [
                (cell_id, run_id, start, measure, value, line.calibration_seconds)
                for measure, value in line.measures.items()
            ],
        )


def _note(reading: Reading, line: Any, place: tuple[int, int]) -> tuple[Any, ...] | None:
    match line:
        case Head():
            reading.head = line
        case Resumed():
            reading.resumed.append(line)
            reading.end = None
        case End():
            reading.end = line
            reading.seconds = (reading.seconds or 0.0) + line.seconds
        case Record():
            return _flat(row_of_record(line, *place, reading.head, reading.resumed))
        case TestLine():
            _note_test(reading, line)
        case Timing():
            return _flat(row_of_timing(line, *place, reading.head))
    return None


def _note_test(reading: Reading, line: TestLine) -> None:
    session = len(reading.resumed)
    # Of a test that several sessions ran, the last one's lines count.
    if reading.failing.get(line.node, (session, []))[0] != session:
        del reading.failing[line.node]
    if line.status in ("failed", "error"):
        reading.failing.setdefault(line.node, (session, []))[1].append(line.cell)


def _flat(row: Any) -> tuple[Any, ...]:
    values = list(_all_columns(row))
    for place in _json_places:
        values[place] = json.dumps(values[place]) if values[place] else None
    return tuple(values)


def _cell_id(connection: sqlite3.Connection, line: Record | Timing) -> int:
    found = connection.execute("SELECT id FROM cells WHERE cell = ?", (line.cell,)).fetchone()
    if found is None:
        names: tuple[str | None, ...] = (None,) * 5
        if isinstance(line, Record):
            names = (line.dataset, line.algorithm, line.framework, line.mode, line.task)
        statement = "INSERT INTO cells VALUES (NULL, ?, ?, ?, ?, ?, ?) RETURNING id"
        found = connection.execute(statement, (line.cell, *names)).fetchone()
    return int(found[0])


def _save(connection: sqlite3.Connection, reading: Reading, size: int, changed: int) -> int:
    parts = environment_of(reading.head) if reading.head else {}
    columns = {
        "kind": reading.kind,
        "name": reading.name,
        "head": reading.head.model_dump_json() if reading.head else None,
        "environment": hash_environment(parts),
        "parts": json.dumps(parts),
        "resumed": json.dumps([one.model_dump(mode="json") for one in reading.resumed]),
        "end": reading.end.model_dump_json() if reading.end else None,
        "seconds": reading.seconds,
        "failing": json.dumps(reading.failing),
        "damage": json.dumps(reading.damage),
        "torn": reading.torn,
        "read": reading.read,
        "lines": reading.lines,
        "digest": reading.digest,
        "size": size,
        "changed": changed,
    }
    names = ", ".join(columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    statement = (
        f"INSERT INTO runs ({names}) VALUES ({', '.join('?' * len(columns))}) "  # noqa: S608
        f"ON CONFLICT (kind, name) DO UPDATE SET {changes} RETURNING id"
    )
    return int(connection.execute(statement, tuple(columns.values())).fetchone()[0])


def _restore(row: sqlite3.Row | None) -> Reading | None:
    if row is None:
        return None
    return Reading(
        kind=row["kind"],
        name=row["name"],
        head=Head.model_validate_json(row["head"]) if row["head"] else None,
        resumed=[Resumed.model_validate_json(json.dumps(r)) for r in json.loads(row["resumed"])],
        end=End.model_validate_json(row["end"]) if row["end"] else None,
        seconds=row["seconds"],
        failing={node: (one[0], one[1]) for node, one in json.loads(row["failing"]).items()},
        damage=json.loads(row["damage"]),
        torn=row["torn"],
        read=row["read"],
        lines=row["lines"],
        digest=row["digest"],
    )


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest() if content else b""
