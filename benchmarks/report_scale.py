"""Time the index and the site of many runs: ``python benchmarks/report_scale.py [FOLDER]``.

Runs that never were are written into a folder (kept if it is named, and used again if it holds
them), a night is added, and what a morning costs is timed: taking the night into the index,
writing the site, and opening the overview in Chromium until it answers. Times are wall seconds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthetic_runs import write_runs

from harness.publish import publish
from harness.store.index import open_index
from harness.store.journal import list_runs

NIGHTS = 3


def timed(work: Callable[[], Any]) -> float:
    """Return the wall seconds that a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def take_in(reports: Path) -> None:
    """Bring the index up to date."""
    open_index(reports).close()


def open_in_browser(page: Path) -> tuple[float, float]:
    """Return the seconds until the overview is loaded, and until it has answered a click."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("there is no chromium on the path: install your system's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto("about:blank")
        started = time.perf_counter()
        tab.goto(page.as_uri())
        loaded = time.perf_counter() - started
        tab.get_by_role("link", name="Runs", exact=True).first.focus()
        tab.keyboard.press("Tab")
        answered = time.perf_counter() - started
        browser.close()
    return loaded, answered


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--cells", type=int, default=500)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="mlmatrix-scale-"))
    reports = folder / "reports"
    try:
        known = len(list_runs(reports)) if reports.exists() else 0
        if known < asked.runs:
            write_runs(reports, asked.runs - known, asked.cells, first=known)
            known = asked.runs
        print(f"{known} runs of {asked.cells} cells", flush=True)
        print(
            f"index, from what it knew to all: {timed(lambda: take_in(reports)):.1f} s", flush=True
        )
        for name in ("index.html", "data", "assets"):
            place = reports / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        print(f"whole site, from the index: {timed(lambda: publish(reports)):.1f} s", flush=True)
        for night in range(NIGHTS):
            write_runs(reports, 1, asked.cells, first=known + night)
            index = timed(lambda: take_in(reports))
            site = timed(lambda: publish(reports))
            print(f"a night more: index {index:.2f} s, whole site {site:.1f} s", flush=True)
        page = reports / "index.html"
        loaded, answered = open_in_browser(page)
        print(f"overview: {page.stat().st_size / 1e6:.2f} MB, loaded in {loaded:.2f} s, ", end="")
        print(f"answers the keyboard after {answered:.2f} s", flush=True)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
