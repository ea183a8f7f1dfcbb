"""Follow a session from the process that talks to the user: journal, progress, summary, page."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.options import NEWEST, Settings, count_cores, without_resume

if TYPE_CHECKING:
    from harness.store.history import Durations
    from harness.store.journal import Journal
    from harness.store.record import End, TestLine
    from harness.terminal import Progress

RUN = pytest.StashKey[dict[str, Any]]()
SETTINGS = pytest.StashKey[Settings]()
HELD = pytest.StashKey[int]()
CLUSTER = pytest.StashKey[dict[str, float]]()
FACTS = "mlmatrix"
CHECKED = "matrix_health"
RUN_INPUT = "mlmatrix_run"
REASON_CHARACTERS = 4000

# dataset-algorithm-framework-mode inside a node's brackets; the names have no hyphen.
CELL_IN_NODE = r"[\[-](\w+-\w+-\w+-(?:train|sweep|distill))(?=[\]-])"
# An expression of -m that asks for the matrix, and not for what is left without it.
ASKS_FOR_MATRIX = r"(?<!not )\bslow_matrix\b"


def cells_in(node: str) -> list[str]:
    """Return the ids of the cells in a test's name."""
    return re.findall(CELL_IN_NODE, node)


def groups_datasets(config: pytest.Config, is_default: bool) -> bool:
    """Tell whether a dataset's cells go to one process of xdist.

    They do with `--dist loadgroup`, and where the way to distribute was left to xdist in a
    session that asks for the track of the matrix.
    """
    dist = getattr(config.option, "dist", "no")
    asked = bool(re.search(ASKS_FOR_MATRIX, config.option.markexpr or ""))
    return dist == "loadgroup" or (dist == "load" and is_default and asked)


def name_run() -> str:
    """Return the name of a new run: UTC time and a random tail, so that names sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def choose_run(config: pytest.Config) -> dict[str, Any]:
    """Return the run to resume, else a new one; raises pytest.UsageError for an unknown one."""
    run: dict[str, Any] = {
        "name": name_run(),
        "command": ["pytest", *(str(part) for part in config.invocation_params.args)],
        "resumed_at": None,
        "history": _list_history(config),
        "together": False,
    }
    if config.stash[SETTINGS].resume is not None:
        from harness.store.history import JOURNAL

        folder = _find_resumed(config)
        run |= {"name": folder.name, "resumed_at": (folder / JOURNAL).stat().st_size}
    return run


def _list_history(config: pytest.Config) -> list[tuple[str, int]]:
    # All processes of xdist must see the same, or they would order their tests differently.
    if not (config.stash[SETTINGS].reports / "runs").is_dir():
        return []
    from harness.store.history import RUNS_TIMED, list_sizes

    return list_sizes(config.stash[SETTINGS].reports, RUNS_TIMED)


def open_history(config: pytest.Config) -> Durations:
    """Return what earlier runs tell of how long cells take."""
    from harness.store.history import Durations, read_past

    settings = config.stash[SETTINGS]
    past = read_past(settings.reports, config.stash[RUN]["history"])
    return Durations(past, settings.rows, settings.replicates)


def _find_resumed(config: pytest.Config) -> Path:
    from harness.store.journal import check_version, find_run, hold_run
    from ml.core.errors import MatrixError

    settings = config.stash[SETTINGS]
    name = None if settings.resume == NEWEST else settings.resume
    try:
        folder = find_run(settings.reports, name)
        config.stash[HELD] = hold_run(folder)
        check_version(folder)
    except MatrixError as problem:
        text = f"--matrix-resume: {problem}"
        if name and Path(config.invocation_params.dir, name.partition("::")[0]).exists():
            text += f"; to go on with the newest in {name}, write --matrix-resume={NEWEST} {name}"
        raise pytest.UsageError(text) from None
    return folder


def open_journal(config: pytest.Config) -> Journal:
    """Return the journal of this session's run; nothing is written yet."""
    from harness.store.environment import describe_run
    from harness.store.journal import Journal

    run, settings = config.stash[RUN], config.stash[SETTINGS]
    return Journal(
        settings.reports / "runs" / run["name"],
        lambda name: describe_run(
            name,
            settings.root,
            tuple(run["command"]),
            settings.runtime,
            settings.executor,
            config.stash.get(CLUSTER, {}),
        ),
        run["resumed_at"],
    )


class Reporter:
    """Write test lines and the end, print progress and summary, and make the page."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.perf_counter()
        self._nodes: set[str] = set()
        self._found: set[str] = set()
        self._page: Path | None = None
        self._problems: dict[str, str] = {}
        self._begun = False
        self._stopped = False
        self._load_told = False

    @cached_property
    def _journal(self) -> Journal:
        return open_journal(self._config)

    @property
    def _cells(self) -> set[str]:
        # A session that only collects need not look through the names.
        self._found.update(cell for node in self._nodes for cell in cells_in(node))
        self._nodes.clear()
        return self._found

    @cached_property
    def _progress(self) -> Progress:
        from harness.terminal import Progress

        return Progress(total=len(self._cells))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the cells that will run in this process."""
        self._nodes.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Take the cells that xdist's workers will run."""
        self._nodes.update(ids)
        line = self._describe_load() if self._cells and not self._load_told else None
        if line is not None:
            self._load_told = True
            self._config.get_terminal_writer().line(line, yellow=True)

    def _describe_load(self) -> str | None:
        from harness.terminal import describe_load

        settings = self._config.stash[SETTINGS]
        threads = settings.runtime.threads if settings.runtime_given else 1
        return describe_load(len(self._config.getoption("tx")), threads, count_cores())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Say, before the first test, what of a resumed run is left and how long it will take."""
        if self._begun or not self._cells:
            return
        self._begun = True
        cells = self._cells
        if self._config.stash[RUN]["resumed_at"] is not None:
            cells = cells - self._resume()
        from harness.terminal import describe_estimate

        tx = getattr(self._config.option, "tx", None)
        reuse = self._config.stash[SETTINGS].reuse
        history = open_history(self._config)
        line = describe_estimate(sorted(cells), history, len(tx or [1]), reuse)
        if line is not None:
            self._write(line)

    def _resume(self) -> set[str]:
        from harness.store.environment import describe_resumption
        from harness.store.journal import read_run

        run = self._config.stash[RUN]
        self._journal.resume(describe_resumption(self._config.rootpath, tuple(run["command"])))
        known = {r.cell for r in read_run(self._journal.folder).records if r.is_final}
        kept = len(known & self._cells)
        self._write(
            f"matrix: resuming {run['name']}: {kept} of {len(self._cells)} cells have their record"
        )
        return known

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write how a cell's test ended, and say now and then how far the matrix is."""
        for name, line in report.user_properties:
            if name == CHECKED:
                from harness.checks_reporter import follow_check

                follow_check(self._config, self._config.stash[SETTINGS].reports, str(line))
        facts = getattr(report, FACTS, None)
        # A test that pytest-rerunfailures repeats has not ended; its record tells of the attempt.
        if (
            facts is None
            or (report.when != "call" and report.passed)
            or str(report.outcome) == "rerun"
        ):
            return
        from harness.store.record import TestLine

        self._append(
            TestLine(
                node=report.nodeid,
                cell=facts["cell"],
                status=_status(report),
                reason=_reason(report)[:REASON_CHARACTERS],
                seconds=report.duration,
            )
        )
        self._hold()
        line = self._progress.update(facts["cell"] or report.nodeid, report.failed)
        if line:
            self._write(line)

    def _hold(self) -> None:
        from harness.store.journal import hold_run
        from ml.core.errors import MatrixError

        if HELD not in self._config.stash:
            with contextlib.suppress(MatrixError):
                self._config.stash[HELD] = hold_run(self._journal.folder)

    def _write(self, line: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        terminal.ensure_newline()
        writer = self._config.get_terminal_writer()
        if writer.width_of_current_line:
            writer.line()
        writer.line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the journal of a session that had cells, and make its page."""
        if "_journal" not in self.__dict__ or not self._journal.exists:
            return
        from harness.store.journal import now
        from harness.store.record import End
        from ml.core.errors import MatrixError

        stops = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        self._stopped = exitstatus in stops or bool(session.shouldstop or session.shouldfail)
        if not self._stopped:
            try:
                self._confirm()
            except Exception as problem:  # noqa: BLE001 - what is suspect stays so
                text = f"suspect cells were not trained again: {type(problem).__name__}: {problem}"
                self._problems["confirm"] = text
        seconds = time.perf_counter() - self._started
        self._append(End(finished=now(), exit_status=int(exitstatus), seconds=seconds))
        self._journal.close_claims()
        reports = self._journal.folder.parents[1]
        try:
            from harness.publish import publish

            self._page = publish(reports)
        except MatrixError as problem:
            self._problems["page"] = f"no report page: {problem}"
        except Exception as problem:  # noqa: BLE001 - a page must not cost the session
            self._problems["page"] = f"no report page: {type(problem).__name__}: {problem}"
        if self._config.stash[SETTINGS].summaries:
            try:
                self._write_summaries()
            except Exception as problem:  # noqa: BLE001 - nor must a summary
                self._problems["summary"] = f"no summary: {type(problem).__name__}: {problem}"

    def _confirm(self) -> None:
        """Train suspect cells again, where cells run on this machine and in workers."""
        settings = self._config.stash[SETTINGS]
        if not settings.confirm or settings.executor != "local" or settings.isolation == "none":
            return
        from harness.confirm import confirm_suspects
        from harness.execute.local import LocalExecutor
        from harness.extensions import project_folders

        logs = self._journal.folder / "workers"
        executor = LocalExecutor(
            logs,
            settings.runtime,
            project=project_folders(self._config),
            memory_limit=settings.memory,
        )
        try:
            confirm_suspects(self._journal, executor, settings.confirm, self._write)
        finally:
            executor.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the closing table and where the page is."""
        if "_journal" not in self.__dict__ or not self._journal.exists:
            return
        from harness.store.journal import read_run
        from harness.terminal import summarize_parity, summarize_run

        run = read_run(self._journal.folder)
        tables = {"parity": summarize_parity(run.records), "matrix": summarize_run(run)}
        terminalreporter.ensure_newline()
        for title, lines in tables.items():
            if lines:
                terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
        terminalreporter.write_line("")
        terminalreporter.write_line(f"journal: {self._shown(self._journal.folder)}")
        if self._page is not None:
            terminalreporter.write_line(f"report: {self._shown(self._page)}")
        for problem in self._problems.values():
            terminalreporter.write_line(problem, red=True)
        left = self._cells - {record.cell for record in run.records if record.is_final}
        if self._stopped and left:
            command = [*without_resume(self._config.stash[RUN]["command"]), "--matrix-resume"]
            terminalreporter.write_line(
                f"{len(left)} of {len(self._cells)} cells have no record; to go on: "
                f"{shlex.join(command)}={run.folder.name}"
            )

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Let others resume the run."""
        if HELD in config.stash:
            os.close(config.stash[HELD])
            del config.stash[HELD]

    def _append(self, line: TestLine | End) -> None:
        """Append a line; a disk that is full costs the line, and not the session."""
        try:
            self._journal.append(line)
        except OSError as problem:
            text = f"the journal lacks what could not be written: {problem}"
            self._problems["journal"] = text

    def _write_summaries(self) -> None:
        from harness.report.summary import choose_base, write_summary
        from harness.store.journal import list_runs, read_run

        run = read_run(self._journal.folder)
        earlier = (read_run(folder) for folder in list_runs(self._journal.folder.parents[1]))
        page = self._shown(self._page) if self._page else None
        text = write_summary(run, choose_base(run, earlier), page)
        for path in self._config.stash[SETTINGS].summaries:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _status(report: pytest.TestReport) -> Any:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return report.longreprtext
