"""Write the Atom feed of regressions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree

from harness.report.frame import link_cell
from harness.report.trendwords import write_commits, write_effect, write_interval, write_measure
from harness.trends.trend import Trend

ATOM = "http://www.w3.org/2005/Atom"
TITLE = "mlmatrix: regressions"
MOST_ENTRIES = 100
# A name space of our own, so that an entry has the same id on every machine and night.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "pytest-mlmatrix/feed")


def write_feed(trends: Sequence[Trend], moments: Mapping[str, str], updated: str) -> bytes:
    """Return the feed of all series that have regressed, those of the newest runs first.

    ``moments`` gives when each run started, ``updated`` when the newest did, both ISO 8601. An
    entry's id is that of the cell, the measure and the run that it regressed in, so that a
    reader shows it once; links are relative to the feed.
    """
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(_name("feed"))
    _add(feed, "title", TITLE)
    _add(feed, "id", f"urn:uuid:{NAMESPACE}")
    _add(feed, "updated", _write_moment(updated))
    _add(_add(feed, "author"), "name", "mlmatrix")
    _add(feed, "link", rel="self", href="feed.xml")
    _add(feed, "link", rel="alternate", href="index.html")
    found = [
        (trend, trend.since.run_after if trend.since else "")
        for trend in trends
        if trend.state == "regressed"
    ]
    found.sort(key=lambda one: (moments.get(one[1], ""), one[0].cell), reverse=True)
    for trend, run in found[:MOST_ENTRIES]:
        entry = _add(feed, "entry")
        effect = f" {write_effect(trend.effect)}" if trend.effect is not None else ""
        _add(entry, "title", f"{trend.cell}: {write_measure(trend.measure)} regressed{effect}")
        key = "\n".join((trend.cell, trend.measure, run))
        _add(entry, "id", f"urn:uuid:{uuid.uuid5(NAMESPACE, key)}")
        _add(entry, "updated", _write_moment(moments.get(run, updated)))
        _add(entry, "link", rel="alternate", href=link_cell(trend.cell))
        told = [
            trend.evidence,
            f"interval {write_interval(trend.interval)}" if trend.interval else "",
            f"since run {run}" if run else "",
            f"commits {write_commits(trend.since)}" if trend.since else "",
        ]
        _add(entry, "summary", "; ".join(text for text in told if text))
    ElementTree.indent(feed)
    text = ElementTree.tostring(feed, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _name(tag: str) -> str:
    return f"{{{ATOM}}}{tag}"


def _add(
    parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, _name(tag), attributes)
    # XML has no way to write most control characters, not even escaped.
    element.text = None if text is None else "".join(c if _is_xml(c) else "�" for c in text)
    return element


def _is_xml(character: str) -> bool:
    return character in "\t\n\r" or (
        character >= " "
        and not "\ud800" <= character <= "\udfff"
        and character not in "\ufffe\uffff"
    )


def _write_moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(timespec="seconds")
