"""Make the site by the command, and have it opened."""

import os
import subprocess
import sys
import time

import pytest
from site_fixture import make_nights

from harness.store.journal import JOURNAL

pytestmark = pytest.mark.system

MAIN = "import sys; from harness.cli import main; sys.exit(main())"


def test_the_site_is_opened_by_the_browser_that_the_environment_names(tmp_path):
    [run] = make_nights(tmp_path, 1)
    run.folder.mkdir(parents=True)
    lines = [run.head, *run.records, run.end]
    text = "".join(line.model_dump_json() + "\n" for line in lines)
    (run.folder / JOURNAL).write_text(text)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "report", "--open", f"--reports={tmp_path}"],
        env={**os.environ, "BROWSER": f"{browser} %s", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'index.html'}\n")
    for _ in range(100):  # The browser is not waited for.
        if opened.exists() and opened.read_text():
            break
        time.sleep(0.05)
    assert opened.read_text() == (tmp_path / "index.html").as_uri()
