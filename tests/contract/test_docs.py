"""Hold the reference pages to the code: no name is missing there, and none is made up."""

import inspect
import re
import sys
import types
from typing import get_args

import pytest
from settings_fixture import make_settings

import harness.store.record
import ml.core.contracts
import ml.core.rules
import ml.core.specs
import ml.core.trials
import ml.datasets.__main__ as data
from harness import cli, data_command, declare, hookspecs, recommend_command, testing
from harness.catalog.product import load_catalog, select_cells
from harness.gates.judge import GATES
from harness.health_marker import FIELDS as HEALTH_FIELDS
from harness.markers import CELL_MARKS, FIELDS, TRACKS, MatrixMarker
from harness.matrix_health import HealthChecks
from harness.runtime import KEYS, VARIABLES
from harness.session import CellRun
from ml.core.contracts import Contract, Outcome

pytestmark = pytest.mark.contract
MODULES = (
    harness.store.record,
    ml.core.contracts,
    ml.core.rules,
    ml.core.specs,
    ml.core.trials,
)


class Page:
    """Hold the tables of a reference page by the heading that they stand under."""

    def __init__(self, text):
        self.tables = {}
        heading, header = "", []
        for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
            if line.startswith("#"):
                heading = line.lstrip("# ").replace("`", "")
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not cells:
                header = []
            elif not header:
                header = cells
            elif set(line) - set("|- "):
                self.tables.setdefault(heading, []).append(dict(zip(header, cells, strict=True)))

    def names(self, heading, column=None):
        """Return what stands in backticks in a column, the first one unless it is named."""
        rows = self.tables.get(heading, [])
        cells = [row.get(column, "") if column else next(iter(row.values())) for row in rows]
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    def all_names(self, column):
        return [name for heading in self.tables for name in self.names(heading, column)]


@pytest.fixture
def page(request):
    folder = request.config.rootpath / "docs" / "reference"
    return lambda name: Page((folder / f"{name}.md").read_text())


def test_every_option_and_ini_value_is_documented_and_no_other(page, pytestconfig):
    options, parser = page("options"), pytestconfig._parser
    [group] = [group for group in parser._groups if group.name == "matrix"]
    known = [name for option in group.options for name in option.names()]
    assert len(known) > 20
    documented = [name.split()[0] for name in options.all_names("option")]
    assert sorted(documented) == sorted(known)
    inis = [name for name in parser._inidict if name.startswith("matrix_")]
    assert sorted(options.all_names("ini value")) == sorted(inis)
    assert options.all_names("key of the file") == list(KEYS)
    assert options.all_names("environment") == [VARIABLES + key.upper() for key in KEYS]


def test_every_ini_default_is_the_one_that_is_documented(page, pytestconfig):
    for rows in page("options").tables.values():
        for row in rows:
            for name in re.findall(r"`(\w+)`", row.get("ini value", "")):
                default = pytestconfig._parser._inidict[name][2]
                if default not in ("", None, False, []):
                    assert row["default"] == str(default), name


def test_every_marker_is_documented_and_no_other(page):
    markers = page("markers")
    assert markers.names("Arguments of matrix") == list(FIELDS)
    assert markers.names("Arguments of matrix_health") == list(HEALTH_FIELDS)
    assert markers.names("Tracks") == list(TRACKS)
    assert markers.names("Marks of a cell") == list(CELL_MARKS)


def test_every_hook_is_documented_with_its_arguments_and_no_other(page):
    known = [
        f"{name}({', '.join(inspect.signature(hook).parameters)})"
        for name, hook in vars(hookspecs).items()
        if name.startswith("pytest_matrix_")
    ]
    assert len(known) == 5
    assert page("hooks").all_names("hook") == known


def test_every_outcome_and_gate_is_documented_and_no_other(page):
    outcomes = page("outcomes")
    assert outcomes.names("Outcomes") == list(get_args(Outcome))
    assert outcomes.names("Gates") == list(GATES)


def test_every_field_of_records_and_requests_is_documented_and_no_other(page):
    known = {
        name: list(kind.__annotations__)
        for module in MODULES
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and issubclass(kind, Contract)
        and kind is not Contract
        and kind.__module__ == module.__name__
    }
    record = page("record")
    documented = {heading: record.names(heading) for heading in record.tables}
    assert sorted(documented) == sorted(known)
    for name, fields in known.items():
        assert documented[name] == fields, name


def test_every_command_and_its_options_are_documented_and_no_other(page, request, capsys):
    own = [name for name in _commands(cli.main, capsys) if name != "data"]
    commands = {f"mlmatrix {name}": _options(cli.main, name, capsys) for name in own}
    for main in (data.main, data_command.main, recommend_command.main):
        for name in _commands(main, capsys):
            commands[f"mlmatrix data {name}"] = _options(main, name, capsys)
    path = request.config.rootpath / "docs" / "reference" / "commands.md"
    assert sorted(re.findall("^## `(.*)`$", path.read_text(), re.MULTILINE)) == sorted(commands)
    for name, options in commands.items():
        assert {text.split()[0] for text in page("commands").names(name)} == options, name


def _help(main, arguments, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def _commands(main, capsys):
    return re.findall(r"^    (\w+)", _help(main, [], capsys), re.MULTILINE)


def _options(main, command, capsys):
    return set(re.findall(r"--[a-z-]+", _help(main, [command], capsys))) - {"--help"}


def test_every_function_for_a_project_is_documented_and_no_other(page):
    functions = page("fixtures")
    handle = [name for name in {**vars(CellRun), "cell": None} if not name.startswith("_")]
    assert sorted(functions.names("cell")) == sorted(
        f"cell.{name}()" if inspect.isfunction(vars(CellRun).get(name)) else f"cell.{name}"
        for name in handle
    )
    arguments = inspect.signature(HealthChecks.__call__).parameters
    assert functions.names("matrix_health") == [name for name in arguments if name != "self"]
    for function in (declare.algorithm, declare.dataset, declare.gate):
        parameters = inspect.signature(function).parameters
        assert functions.names(function.__name__) == list(parameters), function
    assert functions.names("Checks of an algorithm") == list(testing.CHECKS)
    assert "expected_failed_checks" in inspect.signature(testing.parametrize_with_checks).parameters


@pytest.fixture
def examples(request):
    """Return a function of each Python example that defines it, on a page."""

    def run(name, function):
        text = (request.config.rootpath / "docs" / f"{name}.md").read_text()
        modules = []
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            if f"def {function}" in code:
                modules.append({})
                exec(compile(code, f"{name}.md", "exec"), modules[-1])
        assert modules
        return [module[function] for module in modules]

    return run


def test_the_examples_of_algorithms_are_some(examples):
    pytest.importorskip("sklearn")
    found = [hook() for hook in examples("how-to/add-an-algorithm", "pytest_matrix_algorithms")]
    assert [
        [f"{entry.id}-{entry.framework}-{entry.modes[0]}" for entry in one] for one in found
    ] == [
        ["naive_bayes-sklearn-train", "smooth_bayes-sklearn-train"],
        ["wide_mlp-pytorch-train", "wide_mlp-jax-train"],
        ["tiny_student-jax-distill"],
        ["centroid-sklearn-train"],
    ]
    assert set(found[3][0].space) == {"params.shrink_threshold", "params.metric"}
    assert found[0][1].model.params == {"var_smoothing": 1e-3}


def test_the_example_of_a_table_is_one(examples, monkeypatch):
    pytest.importorskip("pandas")
    [read] = examples("how-to/add-a-dataset", "read_deliveries")
    assert read().shape == (100, 2)
    module = types.ModuleType("your_project.tables")
    module.read_deliveries = read
    read.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, "your_project", types.ModuleType("your_project"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    [hook] = examples("how-to/add-a-dataset", "pytest_matrix_datasets")
    assert [(entry.id, entry.data.function) for entry in hook()] == [
        ("made_deliveries", "your_project.tables:read_deliveries")
    ]


def test_the_examples_of_arranging_cells_do_what_they_say(examples, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    smaller, longer, deeper = examples("reference/hooks", "pytest_matrix_cells")
    settings = make_settings(rows=100, replicates=1, seconds=1.0, timeout=1.0)
    catalog = load_catalog(settings)
    marker = MatrixMarker(dataset=("wine", "lending_club"), framework=("jax",), mode=("train",))
    cells = select_cells(catalog, marker, settings)
    arranged = list(cells)
    smaller(arranged)
    assert {c.algorithm for c in cells} - {c.algorithm for c in arranged} == {"transformer"}
    longer(arranged)
    assert {c.dataset: c.timeout for c in arranged} == {"wine": 1.0, "lending_club": 1200.0}
    deeper(arranged)
    assert {c.sweep for c in arranged} == {None}
    swept = select_cells(catalog, marker._replace(mode=("sweep",)), settings)
    deeper(swept)
    assert {c.dataset: c.sweep.epochs for c in swept} == {"wine": None, "lending_club": 2_000}


def test_every_page_is_in_the_contents_and_every_link_leads_to_a_page(request):
    root = request.config.rootpath
    pages = {path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")}
    contents = (root / "mkdocs.yml").read_text()
    assert set(re.findall(r"[\w/-]+\.md", contents)) == pages
    for name in pages:
        place = root / "docs" / name
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", place.read_text()):
            assert (place.parent / target).exists(), f"{name}: {target}"


def test_the_tutorial_shows_the_files_of_the_example_project(request):
    root = request.config.rootpath
    text = (root / "docs" / "tutorial.md").read_text()
    shown = re.findall(r"^--8<--\n(.*)\n--8<--$", text, re.MULTILINE)
    project = root / "examples" / "your_project"
    files = [path for path in project.rglob("*") if path.suffix in (".py", ".toml")]
    assert sorted(root / name for name in shown) == sorted(p for p in files if p.stat().st_size)
