"""Follow imports through source files, without importing any, and name the packages they enter."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from urllib.parse import unquote, urlparse

import harness

OWN_ROOT = Path(harness.__file__).parents[1]
OWN = ("ml", "harness")
# Top modules whose distributions have other names.
DISTRIBUTIONS = {"sklearn": ("scikit-learn",), "tensorflow": ("tensorflow", "tensorflow-cpu")}
ABSENT = "absent"

_requirement = re.compile(r"[\w.-]+")


def digest(content: bytes) -> str:
    """Return a hash in 16 hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def project_roots(root: Path) -> tuple[Path, ...]:
    """Return where a project's own modules are imported from: its root, src, and sys.path."""
    installed = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    own = [
        entry
        for entry in entries
        if entry.is_dir() and not any(entry.is_relative_to(place) for place in installed)
    ]
    return tuple(dict.fromkeys((root, root / "src", *own)))


@dataclass(frozen=True)
class Module:
    """Hold a source file: its hash, what it imports, and how it looked when it was read."""

    path: Path
    digest: str
    imports: tuple[str, ...]
    stamp: tuple[int, int]


class Sources:
    """Hash the modules that are reached from others, each file once."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = list(roots)
        self._modules: dict[str, Module | None] = {}
        self._closures: dict[tuple[str, ...], tuple[dict[str, Module], frozenset[str]]] = {}
        self._packages: dict[str, tuple[str, tuple[str, ...]] | None] = {}
        self._edited: dict[str, list[Path]] = {}

    def closure(self, entries: Iterable[str]) -> tuple[dict[str, Module], frozenset[str]]:
        """Return the source modules that these import, by name, and the top names of packages.

        An import inside a function counts, one for type checkers does not. The packages that
        hold a module count, since they are imported with it.
        """
        wanted = tuple(entries)
        if wanted not in self._closures:
            modules: dict[str, Module] = {}
            packages: set[str] = set()
            seen: set[str] = set()
            waiting = list(wanted)
            while waiting:
                name = waiting.pop()
                if name in seen or not name:
                    continue
                seen.add(name)
                module = self._find(name)
                parent = name.rpartition(".")[0]
                if parent:
                    waiting.append(parent)
                if module is not None:
                    modules[name] = module
                    waiting.extend(module.imports)
                elif not parent and name not in sys.stdlib_module_names:
                    packages.add(name)
            self._closures[wanted] = modules, frozenset(packages - set(OWN))
        return self._closures[wanted]

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Return the versions of these top modules' distributions, and of all that they require."""
        found: dict[str, str] = {}
        waiting = [name for top in packages for name in self._distributions(top)]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            entry = self._package(name)
            if entry is None:
                found[name] = ABSENT
                continue
            found[name] = entry[0]
            # What a package may do without, and does here, is none of its parts.
            waiting.extend(r for r in entry[1] if self._package(r) is not None)
        return found

    def path_of(self, module: str) -> Path | None:
        """Return a module's source file, None where it is none of the project's."""
        found = self._find(module)
        return found.path if found else None

    def _find(self, name: str) -> Module | None:
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return None
        path = next(self._files(name, [OWN_ROOT] if top in OWN else self._roots), None)
        if path is None and top not in OWN and (name == top or self._find(top) is None):
            if top not in self._edited:
                self._edited[top] = list(self._editable(top))
            path = next(self._files(name, self._edited[top]), None)
        if path is None:
            return None
        content = path.read_bytes()
        stat = path.stat()
        imports: tuple[str, ...] = ()
        if path.suffix == ".py":
            imports = tuple(dict.fromkeys(_imports(content, name, path.name == "__init__.py")))
        return Module(path, digest(content), imports, (stat.st_mtime_ns, stat.st_size))

    def _files(self, name: str, roots: Sequence[Path]) -> Iterator[Path]:
        for root in roots:
            base = root.joinpath(*name.split("."))
            for path in (
                base / "__init__.py",
                *(base.with_name(base.name + suffix) for suffix in (".py", *EXTENSION_SUFFIXES)),
            ):
                if path.is_file():
                    yield path

    def _editable(self, top: str) -> Iterator[Path]:
        """Yield where a package's sources lie if it is installed to be edited there."""
        for name in self._distributions(top):
            try:
                text = metadata.distribution(name).read_text("direct_url.json")
            except metadata.PackageNotFoundError:
                continue
            origin = json.loads(text) if text else {}
            if origin.get("dir_info", {}).get("editable"):
                folder = Path(unquote(urlparse(origin["url"]).path))
                yield from (folder, folder / "src")

    def _distributions(self, top: str) -> tuple[str, ...]:
        for name in DISTRIBUTIONS.get(top, (top,)):
            if self._package(_normal(name)) is not None:
                return (_normal(name),)
        if top in DISTRIBUTIONS:
            return (_normal(DISTRIBUTIONS[top][0]),)
        names = self._tops.get(top, [top])
        return tuple(sorted({_normal(name) for name in names}))

    @cached_property
    def _tops(self) -> Mapping[str, list[str]]:
        # Few packages have another name than their module, and to list them all is slow.
        return metadata.packages_distributions()

    def _package(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        if name not in self._packages:
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                self._packages[name] = None
            else:
                required = [r for r in found.requires or () if "extra ==" not in r]
                names = [match[0] for r in required if (match := _requirement.match(r))]
                self._packages[name] = found.version, tuple(map(_normal, names))
        return self._packages[name]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(content: bytes, name: str, is_package: bool) -> Iterator[str]:
    try:
        waiting: list[ast.AST] = [ast.parse(content)]
    except (SyntaxError, ValueError):
        return
    package = name if is_package else name.rpartition(".")[0]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, base] if base else above)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
            case ast.Call(args=[ast.Constant(value=str(target)), *_]) if _name(node.func) in (
                "import_module",
                "__import__",
            ):
                yield target
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""
