"""Read what a run's workers run on: from a file, the environment and arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ml.core.errors import MatrixError
    from ml.core.specs import RuntimeSpec

VARIABLES = "MLMATRIX_"
OWN_FILE = "mlmatrix.toml"
PROJECT_FILE = "pyproject.toml"
ROOT_FILES = (OWN_FILE, PROJECT_FILE, "pytest.ini")
KEYS = ("device", "threads", "deterministic", "compilation", "models_at_once")
_ALIKE = 0.66


class Given(NamedTuple):
    """Hold one value where it was given: ``place`` names file and key, variable or argument.

    A value that ``is_text`` is read as its key's type; in a file it has a type of its own.
    """

    key: str
    value: Any
    place: str
    is_text: bool = True


def gather_runtime(
    root: Path, environment: Mapping[str, str], arguments: Mapping[str, Any], prefix: str
) -> tuple[Given, ...]:
    """Return what is given, weakest first: file, environment, arguments.

    ``arguments`` are by key, None for one that was left out; ``prefix`` is what stands before
    the key on the command line. Raises MatrixError for files that cannot be read and for
    unknown keys; the values are checked by ``settle_runtime``.
    """
    named = ((key, value) for key, value in arguments.items() if value is not None)
    return (
        *_from_file(root),
        *_from_environment(environment),
        *(
            Given(key, value, f"{prefix}{key.replace('_', '-')}", isinstance(value, str))
            for key, value in named
        ),
    )


def settle_runtime(given: Iterable[Given]) -> RuntimeSpec:
    """Return the runtime, in which a later value wins over an earlier one.

    Raises MatrixError naming key and place for a value that cannot be, also one that loses.
    """
    from ml.core.specs import RuntimeSpec

    values: dict[str, Any] = {}
    for one in given:
        values[one.key] = _read(one)
    return RuntimeSpec(**values)


def find_root(folder: Path) -> Path:
    """Return the nearest folder, this one or above it, that holds a project's settings."""
    above = (folder, *folder.parents)
    return next((at for at in above if any((at / name).is_file() for name in ROOT_FILES)), folder)


def _read(given: Given) -> Any:
    from pydantic import ValidationError

    from ml.core.specs import RuntimeSpec

    try:
        # One key at a time, so that the value at fault is the one that is named.
        spec = RuntimeSpec.model_validate({given.key: given.value}, strict=not given.is_text)
    except ValidationError:
        raise _problem(
            f"{given.place} is not valid",
            code="invalid_setting",
            field=given.place,
            expected=_expected(RuntimeSpec.model_json_schema()["properties"][given.key]),
            received=given.value,
        ) from None
    return getattr(spec, given.key)


def _expected(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "boolean":
        return "true or false"
    return f"a whole number from {schema['minimum']} to {schema['maximum']}"


def _from_environment(environment: Mapping[str, str]) -> list[Given]:
    # An empty variable is one that was taken back, as a shell does it.
    ours = {name: text for name, text in environment.items() if name.startswith(VARIABLES) and text}
    if not ours:
        return []
    import difflib

    found = []
    for name, text in ours.items():
        key = name.removeprefix(VARIABLES).lower()
        if key in KEYS and name.isupper():
            found.append(Given(key, text, name))
        elif difflib.get_close_matches(key, KEYS, n=1, cutoff=_ALIKE):
            # Only what is nearly ours: others may have variables that begin alike.
            known = tuple(VARIABLES + each.upper() for each in KEYS)
            _check_key(name, f"the environment variable {name}", known)
    return found


def _from_file(root: Path) -> list[Given]:
    own, project = root / OWN_FILE, root / PROJECT_FILE
    table = _read_toml(own)
    _check_table(table, str(own))
    tool = _read_toml(project).get("tool", {})
    ours = tool.get("mlmatrix", {}) if isinstance(tool, dict) else {}
    _check_table(ours, f"{project}, [tool.mlmatrix]")
    if "runtime" in table and "runtime" in ours:
        raise _problem(
            f"both {own} and {project} set the runtime",
            code="two_files",
            field="runtime",
            expected=f"[runtime] in {OWN_FILE}, or [tool.mlmatrix.runtime] in {PROJECT_FILE}",
            remedy="move all keys into one of them",
        )
    if "runtime" in table:
        where, values = f"{own}, [runtime]", table["runtime"]
    else:
        where, values = f"{project}, [tool.mlmatrix.runtime]", ours.get("runtime", {})
    if not isinstance(values, dict):
        raise _no_table(where, values)
    for key in values:
        _check_key(key, f"{where}: {key}", KEYS)
    return [Given(key, value, f"{where}: {key}", False) for key, value in values.items()]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if path.name == PROJECT_FILE and b"mlmatrix" not in content:
            return {}  # Whatever is wrong with it, it is not ours to say.
        import tomllib

        return tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise _problem(
            f"{path} cannot be read: {problem}",
            code="unreadable_settings",
            field=str(path),
            expected="a TOML file",
        ) from None


def _check_table(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise _no_table(where, table)
    for key in table:
        if key != "runtime" and key in KEYS:
            raise _problem(
                f"{where}: {key} stands outside the runtime's table",
                code="unknown_setting",
                field=key,
                remedy=f"move it below {where} to the table of the name runtime",
            )
        _check_key(key, f"{where}: {key}", ("runtime",))


def _check_key(key: str, place: str, known: tuple[str, ...]) -> None:
    if key in known:
        return
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    raise _problem(
        f"{place} is no setting",
        code="unknown_setting",
        field=key,
        expected="one of " + ", ".join(known),
        received=key,
        remedy=f"did you mean {near[0]!r}?" if near else "leave it out",
    )


def _no_table(where: str, received: Any) -> MatrixError:
    return _problem(
        f"{where} is no table",
        code="invalid_setting",
        field=where,
        expected="keys and their values",
        received=received,
    )


def _problem(message: str, **facts: Any) -> MatrixError:
    # A session of pytest that has no cells would import the class for nothing.
    from ml.core.errors import MatrixError, describe

    if "received" in facts:
        facts["received"] = describe(facts["received"])
    return MatrixError(message, **facts)
