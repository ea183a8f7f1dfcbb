"""Read a table's file batch by batch, by its format: local, or at a URL through fsspec."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ml.core.errors import DataInvalid, MatrixError, Unavailable
from ml.health.layout import Layout
from ml.health.lines import NotAsTyped, read_csv, read_json_lines
from ml.health.records import Reader, read_hdf5, read_ipc, read_ipc_stream, read_parquet

READERS: dict[str, Callable[..., Reader]] = {
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".arrow": read_ipc,
    ".feather": read_ipc,
    ".ipc": read_ipc,
    ".arrows": read_ipc_stream,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".hdf": read_hdf5,
}
# What pandas names an index without a name where it saves one, as of a table that was filtered.
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
# What fsspec needs beside itself for a URL.
DRIVERS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}


def open_file(path: str) -> FileSource:
    """Return the source of the table at a path or URL, or of the parts of one in a folder.

    Raises DataInvalid for a file that is not there or whose suffix names no known format,
    Unavailable where a URL's package is not installed.
    """
    if "://" in path:
        return FileSource([path])
    place = Path(path)
    if place.is_dir():
        parts = sorted(str(part) for part in place.iterdir() if _format(part.name)[0] in READERS)
        if not parts:
            raise _no_table(path, "a folder without a table")
        return FileSource(parts)
    if not place.is_file():
        raise _no_table(path, "no such file")
    return FileSource([path])


class FileSource:
    """Give the rows of one file or of several parts, in their names' order.

    ``as_text`` has the columns that a file of text turned out not to hold as numbers or dates.
    """

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        self.as_text: set[str] = set()
        for part in parts:
            if _format(part)[0] not in READERS:
                raise _no_table(part, f"the suffix {_format(part)[0] or 'missing'}")

    def pilot(self) -> Any:
        """Return rows that stand for the table, as an Arrow table."""
        import pyarrow as pa

        # Of several parts the first and the last, which differ most where rows are in order.
        chosen = dict.fromkeys([self.parts[0], self.parts[-1]])
        tables = []
        for part in chosen:
            with self._reading(part, None) as reader:
                batches = map(_without_index, reader.pilot())
                tables += [pa.Table.from_batches([batch]) for batch in batches]
        if not tables:
            raise _no_table(self.parts[0], "a file without rows")
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException:
            return tables[0]

    def batches(self, layout: Layout) -> Iterator[Any]:
        """Yield the rows as Arrow record batches; raises Reread where it must start anew."""
        for part in self.parts:
            with self._reading(part, layout) as reader:
                yield from map(_without_index, reader.batches())

    @contextmanager
    def _reading(self, part: str, layout: Layout | None) -> Iterator[Reader]:
        """Open a part, and name the file in whatever a foreign reader may raise."""
        suffix, compression = _format(part)
        try:
            with _opened(part) as file:
                yield READERS[suffix](
                    file, layout=layout, as_text=self.as_text, compression=compression
                )
        except (MatrixError, Reread):
            raise
        except NotAsTyped as problem:
            if problem.column in self.as_text:
                raise _no_table(part, f"a column {problem.column} that cannot be read") from None
            self.as_text.add(problem.column)
            raise Reread from None
        except ImportError as problem:
            raise Unavailable(
                f"reading {part} needs {problem.name}, which is not installed",
                remedy=f"pip install {problem.name}",
            ) from None
        except Exception as problem:  # noqa: BLE001 - a foreign reader may raise anything
            raise DataInvalid(
                f"{part} cannot be read: {type(problem).__name__}: "
                f"{str(problem).splitlines()[0] if str(problem) else ''}",
                code="source_unreadable",
                field=part,
                expected=f"a table in the format of {suffix}",
                remedy="mend the file, or give it the suffix of its format",
            ) from None


def _without_index(batch: Any) -> Any:
    kept = [name for name in batch.schema.names if not UNNAMED_INDEX.fullmatch(name)]
    return batch if len(kept) == batch.num_columns else batch.select(kept)


class Reread(Exception):
    """Ask for a file to be read from its start, as one of its columns is not what it seemed."""


def _format(path: str) -> tuple[str, str | None]:
    name = Path(urlsplit(path).path if "://" in path else path).name.lower()
    for suffix, compression in COMPRESSIONS.items():
        if name.endswith(suffix):
            return Path(name[: -len(suffix)]).suffix, compression
    return Path(name).suffix, None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    if "://" not in path:
        with Path(path).open("rb") as file:
            yield file
        return
    scheme = urlsplit(path).scheme
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError:
        raise Unavailable(
            f"a {scheme} URL is read through fsspec, which is not installed",
            field=path,
            remedy=f"pip install fsspec {DRIVERS.get(scheme, '')}".strip(),
        ) from None
    try:
        opened = fsspec.open(path, "rb")
    except (ImportError, ValueError) as problem:
        driver = DRIVERS.get(scheme)
        raise Unavailable(
            f"a {scheme} URL cannot be read: {str(problem).splitlines()[0]}",
            field=path,
            expected=driver or "a protocol that fsspec knows",
            remedy=f"pip install {driver}" if driver else "give a path, or another URL",
        ) from None
    with opened as file:
        yield file


def _no_table(path: str, received: str) -> DataInvalid:
    return DataInvalid(
        f"there is no table at {path}",
        code="source_unreadable",
        field=path,
        expected=f"a file that ends in one of {' '.join(READERS)}",
        received=received,
        remedy="correct the path, or save the table in one of these formats",
    )
