"""Find dataset descriptors in folders and files; a table is read only in the worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml.core import contracts
from ml.core.contracts import DescriptorData, FunctionData, Task
from ml.core.descriptor import ExpectedFailure, read_descriptor
from ml.core.errors import DataInvalid

OWN_FOLDER = Path(contracts.__file__).parents[1] / "data"


@dataclass(frozen=True)
class Dataset:
    """Hold what the product needs of a dataset; ``place`` is its file or function."""

    id: str
    task: Task
    data: DescriptorData | FunctionData
    place: str
    expected_failures: tuple[ExpectedFailure, ...] = ()


@dataclass(frozen=True)
class BrokenDataset:
    """Hold a descriptor file that cannot be used, and why."""

    path: Path
    reason: str

    @property
    def id(self) -> str:
        """Return the pytest id of the case that reports it."""
        return f"{self.path.stem}-descriptor"


def find_datasets(
    places: Iterable[Path], declared: Iterable[Dataset] = ()
) -> tuple[list[Dataset], list[BrokenDataset]]:
    """Return the datasets in order of id: descriptor files, those in folders, declared ones.

    A descriptor that is broken, or whose id is taken already, comes with its reason. Raises
    ValueError for a declared one whose id is taken.
    """
    found: dict[str, Dataset] = {}
    broken = []
    for path in (file for place in places for file in _files(place)):
        try:
            dataset = _read(path)
        except DataInvalid as problem:
            broken.append(BrokenDataset(path, str(problem)))
            continue
        earlier = found.setdefault(dataset.id, dataset)
        if earlier is not dataset:
            broken.append(BrokenDataset(path, _taken(dataset, earlier)))
    for dataset in declared:
        earlier = found.setdefault(dataset.id, dataset)
        if earlier is not dataset:
            raise ValueError(_taken(dataset, earlier))
    return [found[name] for name in sorted(found)], broken


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.toml")) if place.is_dir() else [place]


def _read(path: Path) -> Dataset:
    descriptor = read_descriptor(path)
    return Dataset(
        id=descriptor.id,
        task=descriptor.task,
        data=DescriptorData(path=str(path)),
        place=str(path),
        expected_failures=descriptor.expected_failures,
    )


def _taken(dataset: Dataset, earlier: Dataset) -> str:
    return (
        f"dataset id {dataset.id!r} in {dataset.place} is already taken by {earlier.place}; "
        "give one of them another id"
    )
