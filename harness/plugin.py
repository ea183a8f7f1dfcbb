"""Hook the matrix into pytest; every hook hands on to a room, and none imports one early."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from harness.arguments import add_options
from harness.markers import TRACKS, marks_of, names_of, read_marker, register_markers, tracks_of
from harness.options import count_cores, read_settings, threads_of_worker
from harness.reporter import (
    CLUSTER,
    FACTS,
    RUN,
    RUN_INPUT,
    SETTINGS,
    Reporter,
    choose_run,
    groups_datasets,
    open_journal,
)

if TYPE_CHECKING:
    from harness.matrix_health import HealthChecks
    from harness.options import Settings
    from harness.session import CellRun, MatrixSession

_undistributed_key = pytest.StashKey[bool]()
_session_key = pytest.StashKey["MatrixSession"]()
_facts_key = pytest.StashKey[dict[str, Any]]()
_handle_key = pytest.StashKey["CellRun"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks by which a project extends the matrix."""
    from harness import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Notice, before xdist sets one, that no way to distribute tests was asked for."""
    option = config.option
    config.stash[_undistributed_key] = getattr(option, "dist", "no") == "no" and not getattr(
        option, "distload", False
    )
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the reporter where this process is no worker of xdist."""
    register_markers(config)
    settings = config.stash[SETTINGS] = read_settings(config)
    if settings.require:
        from harness.catalog.frameworks import check_required

        try:
            check_required(settings.require)
        except ValueError as problem:
            raise pytest.UsageError(str(problem)) from None
    config.stash[RUN] = getattr(config, "workerinput", {}).get(RUN_INPUT) or choose_run(config)
    if not hasattr(config, "workerinput"):
        if settings.executor == "ray":
            _check_ray(config, settings)
        config.pluginmanager.register(Reporter(config), "mlmatrix-reporter")
        if getattr(config.option, "dist", "no") != "no":
            is_default = config.stash.get(_undistributed_key, False)
            config.stash[RUN]["together"] = groups_datasets(config, is_default)
        _set_selection_up(config, settings)


def _set_selection_up(config: pytest.Config, settings: Settings) -> None:
    if settings.selection:
        from harness.selection import check_selection

        try:
            check_selection(settings.selection, _session(config).catalog)
        except ValueError as problem:
            raise pytest.UsageError(str(problem)) from None
    if settings.list_cells:
        from harness.selection import Listing

        # Processes of xdist would hold the items that are to be listed here.
        config.option.dist = "no"
        config.pluginmanager.register(Listing(_session(config)), "mlmatrix-listing")


def _check_ray(config: pytest.Config, settings: Settings) -> None:
    if config.getoption("dist", "no") != "no":
        raise pytest.UsageError(
            "--matrix-executor ray: Ray spreads the cells, and pytest-xdist would too; leave -n "
            "out, or say -n 0"
        )
    if settings.isolation == "none":
        raise pytest.UsageError(
            "--matrix-isolation none runs cells in this process, --matrix-executor ray on a "
            "cluster; leave one of them out"
        )
    from harness.execute.ray import check_installed
    from ml.core.errors import MatrixError

    try:
        check_installed()
    except MatrixError as problem:
        raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Start no more processes for `-n auto` than the cores have room for, threads considered."""
    found = yield
    threads = threads_of_worker(config)
    return found if threads == 1 else min(found, max(1, count_cores() // threads))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist the run that it belongs to."""
    node.workerinput[RUN_INPUT] = node.config.stash[RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a dataset's cells in one process."""
    if not config.stash[RUN]["together"]:
        return None
    from harness.dispatch import make_scheduler

    return make_scheduler(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one case per cell for a test with the matrix marker."""
    mark = metafunc.definition.get_closest_marker("matrix")
    if mark is None:
        return
    name = metafunc.definition.nodeid
    if "cell" not in metafunc.fixturenames:
        pytest.fail(f"{name} has the matrix marker but does not ask for `cell`", pytrace=False)
    try:
        cells = _session(metafunc.config).select(read_marker(mark))
    except ValueError as problem:
        pytest.fail(f"{name}: {problem}", pytrace=False)
    cases = [pytest.param(entry, id=entry.id, marks=marks_of(entry)) for entry in cells]
    metafunc.parametrize("cell", cases, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse tests without exactly one track, before `-m` can leave them out in silence.

    So are tests whose marker `matrix_health` would go unheard.
    """
    report = yield
    strict = collector.config.stash[SETTINGS].strict_tracks
    wrong, unheard = [], []
    for item in report.result or ():
        if isinstance(item, pytest.Item):
            names = names_of(item)
            if "matrix_health" in names and "matrix_health" not in getattr(
                item, "fixturenames", ()
            ):
                unheard.append(f"  {item.nodeid}")
            tracks = tracks_of(names)
            if len(tracks) != 1 and (strict or "matrix" in names):
                wrong.append(f"  {item.nodeid}: {' and '.join(tracks) or 'none'}")
    if wrong:
        report.outcome = "failed"
        report.longrepr = (
            f"every test needs exactly one track marker of {', '.join(TRACKS)}; "
            "these have another number:\n" + "\n".join(wrong)
        )
        report.result = []
    elif unheard:
        report.outcome = "failed"
        report.longrepr = (
            "these tests have the matrix_health marker but do not ask for the fixture "
            "`matrix_health`:\n" + "\n".join(unheard)
        )
        report.result = []
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tracks in their order, the longest cells first; deselect what was not asked for.

    Other plugins order after this, so that theirs is the one that counts.
    """
    order = list(TRACKS)
    ranks = {item: min(map(order.index, tracks_of(names_of(item))), default=-1) for item in items}
    items.sort(key=ranks.__getitem__)
    selection = config.stash[SETTINGS].selection
    if selection:
        from harness.selection import is_selected

        dropped = [item for item in items if not is_selected(item, selection)]
        left_out = set(dropped)
        items[:] = [item for item in items if item not in left_out]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
    arranged = config.hook.pytest_matrix_cells.get_hookimpls()
    if (
        config.stash[RUN]["history"]
        and not arranged
        and any(item.get_closest_marker("matrix") for item in items)
    ):
        from harness.dispatch import order_cells

        order_cells(config, items, ranks)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Announce the cells that will run, so that a cluster can start on them."""
    config = session.config
    stopped = session.testsfailed and not config.option.continue_on_collection_errors
    listed = config.option.collectonly or config.stash[SETTINGS].list_cells
    if stopped or listed or _session_key not in config.stash:
        return
    from harness.catalog.product import entry_of
    from harness.cell import Cell
    from ml.core.errors import MatrixError

    entries = (entry_of(item) for item in session.items)
    cells = {entry.id: entry for entry in entries if isinstance(entry, Cell)}
    if not cells:
        return
    try:
        _session(config).submit(cells.values())
    except MatrixError as problem:
        raise pytest.UsageError(str(problem)) from None
    config.stash[CLUSTER] = _session(config).cluster()


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellRun:
    """Give the test its cell; ``cell.run()`` trains it once and returns the record."""
    from harness.cell import Cell
    from harness.session import CellRun

    entry = getattr(request, "param", None)
    if entry is None:
        pytest.fail("`cell` needs @pytest.mark.matrix(…) on the test", pytrace=False)
    if not isinstance(entry, Cell):
        request.node.stash[_facts_key] = {"cell": None, "failed": True, "text": ""}
        pytest.fail(entry.reason, pytrace=False)
    session = _session(request.config)
    if getattr(request.node, "execution_count", 1) > 1:
        session.repeat(entry)  # pytest-rerunfailures asks for the test again
    handle = CellRun(session, entry)
    request.node.stash[_handle_key] = handle
    request.node.stash[_facts_key] = {"cell": entry.id, "failed": False, "text": ""}
    missing = session.missing(entry)
    if missing is not None:
        handle.run()
        framework, reason = missing
        if framework in session.settings.require:
            pytest.fail(f"{framework} is required, but {reason}", pytrace=False)
        pytest.skip(f"{framework} is not available: {reason}")
    return handle


@pytest.fixture
def matrix_health(request: pytest.FixtureRequest) -> HealthChecks:
    """Check tables: ``matrix_health("new.parquet", against="old.parquet")`` returns the report."""
    from harness.matrix_health import HealthChecks

    return HealthChecks(request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that has passed when a gate fails its cell; expected failures are xfails."""
    handle = item.stash.get(_handle_key, None)
    try:
        outcome = yield
    except Exception as problem:
        if handle is not None and getattr(problem, "code", None) == "not_recorded":
            pytest.fail(str(problem), pytrace=False)
        raise
    record = handle.known if handle else None
    if record is not None:
        from harness.terminal import expected_reason, explain_failure

        if record.failed:
            pytest.fail(explain_failure(record), pytrace=False)
        reason = expected_reason(record)
        if reason is not None:
            pytest.xfail(reason)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the facts of the cell to its report, which carries them from xdist's workers."""
    report = yield
    handle = item.stash.get(_handle_key, None)
    record = handle.known if handle else None
    facts = item.stash.get(_facts_key, None)
    if record is not None:
        from harness.terminal import cell_facts

        facts = cell_facts(record)
    if facts is not None:
        setattr(report, FACTS, facts)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config
) -> Generator[None, Any, Any]:
    """Add metric, baseline and time to a cell's verbose line."""
    status = yield
    facts = getattr(report, FACTS, None)
    if not facts or not facts["text"] or config.get_verbosity() < 1 or not status[2]:
        return status
    category, letter, word = status
    text, markup = word if isinstance(word, tuple) else (word, {})
    return category, letter, (f"{text} {facts['text']}", markup)


@pytest.hookimpl(optionalhook=True)
def pytest_json_runtest_metadata(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, Any]:
    """Give pytest-json-report the cell's whole record as the test's metadata."""
    handle = item.stash.get(_handle_key, None)
    record = handle.known if handle and call.when == "call" else None
    return {} if record is None else {"mlmatrix": record.model_dump(mode="json")}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what a cluster has done beyond the tests that have run, before the run is closed."""
    if _session_key in session.config.stash:
        session.config.stash[_session_key].record_ended()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the workers, however the session ended."""
    if _session_key in config.stash:
        config.stash[_session_key].close()


def _session(config: pytest.Config) -> MatrixSession:
    if _session_key not in config.stash:
        from harness.extensions import LateHooks, gather
        from harness.session import MatrixSession

        shared = hasattr(config, "workerinput")
        session = MatrixSession(
            config.stash[SETTINGS], open_journal(config), shared, gather(config)
        )
        config.stash[_session_key] = session
        late = LateHooks(config.pluginmanager.get_plugins())
        config.pluginmanager.register(late, "mlmatrix-late-hooks")
    return config.stash[_session_key]
