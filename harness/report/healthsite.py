"""Write the pages of the checks that tests asked for, and the list of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.report.files import name_file, replace_file
from harness.report.frame import NAVIGATION, render
from harness.report.healthpage import TITLES, render_check
from harness.report.text import write_moment
from harness.store.checks import FOLDER, DamagedCheck, KeptCheck, read_checks

LIST = "health.html"
STATES = {"good": "passed", "warn": "expected", "bad": "failed"}


@dataclass(frozen=True)
class CheckLine:
    """Hold one check in the list; ``link`` leads to its page."""

    link: str
    test: str
    candidate: str
    reference: str
    state: str
    verdict: str
    unexpected: bool
    score: int
    rows: str
    worst: str
    moment: str


@dataclass(frozen=True)
class ChecksPage:
    """Hold the list of all checks, those first whose verdict was not expected."""

    lines: tuple[CheckLine, ...]
    damage: tuple[str, ...]


def place_check(reports: Path, test: str, number: int) -> Path:
    """Return the file that keeps a test's check; its page has the same name."""
    return reports / FOLDER / f"{name_file('check', f'{test} {number}')}.json"


def write_checks(reports: Path) -> Path:
    """Write a page for each check that is kept, and the list of them, which is returned.

    Links to pages of the site that are not there are left out. Raises Unavailable without jinja2.
    """
    lines, damage = [], []
    for found in read_checks(reports):
        if isinstance(found, DamagedCheck):
            damage.append(f"{found.path.name}: {found.reason}")
            continue
        path, kept = found
        page = path.with_suffix(".html")
        html = render_check(kept.check, root="../", test=kept.test, navigation=_navigate(reports))
        replace_file(page, html.encode())
        lines.append(_build_line(page, kept))
    known = {line.link for line in lines}
    for page in (reports / FOLDER).glob("check-*.html"):
        if f"{FOLDER}/{page.name}" not in known:
            page.unlink(missing_ok=True)
    order = {"failed": 0, "expected": 1, "passed": 2}
    lines.sort(key=lambda one: (not one.unexpected, order[one.state], one.test, one.link))
    html = render(
        "healthlist.html",
        ChecksPage(tuple(lines), tuple(damage)),
        here=LIST,
        navigation=_navigate(reports),
    )
    replace_file(reports / LIST, html.encode())
    return reports / LIST


def _navigate(reports: Path) -> tuple[tuple[str, str], ...]:
    if (reports / NAVIGATION[0][0]).exists():
        return NAVIGATION
    return tuple(entry for entry in NAVIGATION if entry[0] == LIST)


def _build_line(page: Path, kept: KeptCheck) -> CheckLine:
    check = kept.check
    tone, verdict = TITLES[check.verdict]
    significant = [
        one
        for one in check.dimensions
        if one.p is not None and one.p <= check.alpha and check.verdict in ("differs", "collapsed")
    ]
    return CheckLine(
        link=f"{FOLDER}/{page.name}",
        test=kept.test if kept.number == 1 else f"{kept.test}, check {kept.number}",
        candidate=check.names[1],
        reference=check.names[0],
        state=STATES[tone],
        verdict=verdict,
        unexpected=bool(kept.expected) and check.verdict not in kept.expected,
        score=round(check.score),
        rows=f"{check.candidate.rows:,} against {check.reference.rows:,}",
        worst=", ".join(one.name for one in sorted(significant, key=lambda one: one.score)),
        moment=write_moment(kept.moment),
    )
