"""Find a table by what a user calls it: a path, a URL, a stored sketch, a dataset's id."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ml.core import contracts
from ml.core.errors import DataInvalid
from ml.datasets.load import load_table, read_named
from ml.datasets.stored import table_path

OWN_FOLDER = Path(contracts.__file__).parents[1] / "data"


def find_table(name: str, folders: Sequence[str] = ()) -> str:
    """Return the path or URL of a table; a dataset's is materialised where it is not yet.

    What exists as a path is that path. Raises DataInvalid for what is none of these, and as
    ``load_table`` does.
    """
    known: dict[str, Path] = {}
    for folder in (OWN_FOLDER, *map(Path, folders)):
        if not folder.is_dir():
            raise DataInvalid(
                f"{folder} is not a folder", remedy="give a folder of descriptors (*.toml)"
            )
        for path in sorted(folder.resolve().glob("*.toml")):
            known.setdefault(path.stem, path)
    if "://" in name or Path(name).exists():
        return name
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise DataInvalid(
            f"there is no table {name}",
            code="table_missing",
            field=name,
            expected="a path, a URL, the folder of a stored sketch, or the id of a dataset",
            remedy=f"did you mean the dataset {near[0]}?" if near else None,
        )
    load_table(known[name])
    place, there = table_path(read_named(known[name]), known[name].parent)
    if not there:
        raise DataInvalid(
            f"the table of the dataset {name} could not be kept",
            code="table_not_kept",
            field=name,
            remedy=f"make {place.parent} a folder that can be written",
        )
    return str(place)
