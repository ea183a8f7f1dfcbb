"""Find dataset descriptors in folders; a table is read only in the worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml.core import contracts
from ml.core.descriptor import Descriptor, read_descriptor
from ml.core.errors import DataInvalid

OWN_FOLDER = Path(contracts.__file__).parents[1] / "data"


@dataclass(frozen=True)
class Dataset:
    """Hold a descriptor and the file that it stands in."""

    path: Path
    descriptor: Descriptor


@dataclass(frozen=True)
class BrokenDataset:
    """Hold a descriptor file that cannot be used, and why."""

    path: Path
    reason: str

    @property
    def id(self) -> str:
        """Return the pytest id of the case that reports it."""
        return f"{self.path.stem}-descriptor"


def find_datasets(folders: Iterable[Path]) -> tuple[list[Dataset], list[BrokenDataset]]:
    """Read every ``*.toml`` of the folders, in order of id; broken ones come with a reason."""
    found: dict[str, Dataset] = {}
    broken = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                dataset = Dataset(path, read_descriptor(path))
            except DataInvalid as problem:
                broken.append(BrokenDataset(path, str(problem)))
                continue
            earlier = found.setdefault(dataset.descriptor.id, dataset)
            if earlier is not dataset:
                reason = (
                    f"dataset id {dataset.descriptor.id!r} in {path} is already taken by "
                    f"{earlier.path}; give one of them another id"
                )
                broken.append(BrokenDataset(path, reason))
    return [found[name] for name in sorted(found)], broken
