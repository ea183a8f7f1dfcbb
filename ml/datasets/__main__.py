"""Describe, list, materialise, profile and show datasets: ``python -m ml.datasets``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml.core import contracts
from ml.core.descriptor import Descriptor
from ml.core.errors import DataInvalid, MatrixError
from ml.datasets.columns import near
from ml.datasets.describe import propose_descriptor
from ml.datasets.load import load_table, read_named
from ml.datasets.profile import profile_table
from ml.datasets.stored import read_stored, table_path

OWN_FOLDER = Path(contracts.__file__).parents[1] / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 if a dataset failed, 2 for a mistake."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "describe":
            print(propose_descriptor(asked.file, asked.target, asked.id), end="")
            return 0
        found, broken = _find([OWN_FOLDER, *asked.data])
        if asked.command == "list":
            return _list(found, broken)
        if asked.command == "show":
            print(_chosen(found, [asked.id])[0].read_text(encoding="utf-8"), end="")
            return 0
        if asked.command == "profile":
            paths = [Path(name) for name in asked.id if name.endswith(".toml")]
            ids = [name for name in asked.id if not name.endswith(".toml")]
            chosen = _chosen(found, ids) if ids or not paths else []
            return _profile([*chosen, *paths], asked.json, asked.stored)
        return _materialise(_chosen(found, asked.id), [] if asked.id else broken)
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlmatrix data",
        description=__doc__,
        epilog="Further commands: check, sketch and recommend; each has a --help of its own.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    describe = commands.add_parser("describe", help="propose a descriptor for a file")
    describe.add_argument("file", type=Path)
    describe.add_argument("--target", help="the column to predict")
    describe.add_argument("--id", help="the dataset's id; the file's name by default")
    listing = commands.add_parser("list", help="list our own datasets and those in folders")
    listing.add_argument("data", type=Path, nargs="*", metavar="DIR")
    helps = {
        "materialise": "settle tables ahead of time",
        "profile": "the columns of tables: types, missing values, distributions",
        "show": "print a descriptor",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--data",
            type=Path,
            action="append",
            default=[],
            metavar="DIR",
            help="a further folder of descriptors",
        )
        command.add_argument("id", nargs=None if name == "show" else "*")
        if name == "profile":
            command.add_argument("--json", action="store_true", help="a line of JSON per dataset")
            command.add_argument(
                "--stored", action="store_true", help="materialise nothing, and fetch nothing"
            )
    return parser


def _find(folders: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the descriptors by id, and what is wrong with the others."""
    found: dict[str, Path] = {}
    broken: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataInvalid(
                f"{folder} is not a folder", remedy="give a folder of descriptors (*.toml)"
            )
        for path in sorted(folder.resolve().glob("*.toml")):
            try:
                name = read_named(path).id
            except DataInvalid as problem:
                broken.append(str(problem))
                continue
            if found.setdefault(name, path) != path:
                broken.append(f"{path} has the id of {found[name]}; give one of them another id")
    return found, broken


def _chosen(found: dict[str, Path], ids: Sequence[str]) -> list[Path]:
    for name in ids:
        if name not in found:
            hint = near(name, sorted(found)).replace("columns", "datasets")
            raise DataInvalid(f"there is no dataset {name!r}", remedy=hint)
    return [found[name] for name in (ids or sorted(found))]


def _rows(found: dict[str, Path]) -> Iterator[tuple[str, ...]]:
    yield "id", "task", "rows", "columns", "materialised"
    for name in sorted(found):
        descriptor: Descriptor = read_named(found[name])
        _, there = table_path(descriptor, found[name].parent)
        yield (
            name,
            descriptor.task,
            f"{descriptor.rows:,}",
            f"{descriptor.columns:,}",
            "yes" if there else "no",
        )


def _list(found: dict[str, Path], broken: Sequence[str]) -> int:
    rows = list(_rows(found))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place in (2, 3) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    return _report(broken)


def _materialise(paths: Sequence[Path], broken: Sequence[str]) -> int:
    failed = list(broken)
    for path in paths:
        try:
            table = load_table(path)
        except MatrixError as problem:
            failed.append(f"{path.stem}: {problem}")
            continue
        place, there = table_path(read_named(path), path.parent)
        print(f"{path.stem}: {table.rows:,} rows, {place if there else 'in no folder'}", flush=True)
    return _report(failed)


def _profile(paths: Sequence[Path], as_json: bool, stored: bool) -> int:
    failed = []
    for path in paths:
        try:
            profile = _profile_one(path, stored)
        except MatrixError as problem:
            failed.append(f"{path.stem}: {problem}")
            if as_json:
                print(json.dumps({"path": str(path), "reason": str(problem)}), flush=True)
            continue
        if as_json:
            print(json.dumps({"path": str(path), "profile": profile}), flush=True)
        else:
            print("\n".join(_describe_profile(profile)), flush=True)
    return _report(failed)


def _profile_one(path: Path, stored: bool) -> dict[str, Any]:
    descriptor = read_named(path)
    if not stored:
        return profile_table(load_table(path), descriptor)
    kept, there = table_path(descriptor, path.parent)
    table = read_stored(kept, descriptor) if there else None
    if table is None:
        raise DataInvalid(
            f"the table of {descriptor.id} is not materialised",
            remedy=f"mlmatrix data materialise {descriptor.id} --data {path.parent}",
        )
    return profile_table(table, descriptor)


def _describe_profile(profile: dict[str, Any]) -> Iterator[str]:
    sampled = profile["sampled"]
    of = "" if sampled == profile["rows"] else f", statistics of {sampled:,} sampled rows"
    yield f"{profile['id']}: {profile['rows']:,} rows{of}"
    for column in profile["columns"]:
        parts = [column["role"], column["type"], f"{column['distinct']:,} distinct"]
        if column["missing"]:
            parts.append(f"{column['missing']:,} missing")
        if "first" in column:
            parts.append(f"from {column['first']} to {column['last']}")
        elif "min" in column:
            values = {name: column[name] for name in ("min", "mean", "max")}
            parts += [f"{name} {value:.6g}" for name, value in values.items() if value is not None]
        parts += [f"{level} × {number:,}" for level, number in column.get("top", ())]
        yield f"  {column['name']}: {', '.join(parts)}"


def _report(failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
