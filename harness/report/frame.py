"""Render a page's dataclass in the frame that all pages share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness.report.files import dump_json
from harness.report.text import write_bytes, write_gain, write_number, write_seconds
from ml.core.errors import Unavailable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# A page's file in the reports' folder, and its title in the navigation.
NAVIGATION = (
    ("index.html", "Overview"),
    ("runs.html", "Runs"),
    ("cells.html", "Cells"),
    ("datasets.html", "Datasets"),
    ("algorithms.html", "Algorithms"),
    ("frameworks.html", "Frameworks"),
    ("compare.html", "Compare"),
    ("health.html", "Data health"),
)


def render(template: str, page: object, *, here: str, root: str = "", **more: Any) -> str:
    """Render a page as HTML by its template, which extends ``base.html``; all text is escaped.

    ``here`` is the file in ``NAVIGATION`` that the page belongs to, ``root`` the relative way to
    the reports' folder, ``more`` further names for the template. Raises Unavailable without
    jinja2.
    """
    try:
        import jinja2  # noqa: F401  # the environment is made once, and this is asked each time
    except ImportError as problem:
        raise Unavailable(
            "jinja2 is not installed, and the report page needs it",
            remedy="pip install 'pytest-mlmatrix[report]'",
        ) from problem
    found = _make_environment().get_template(template)
    return found.render(
        **{"page": page, "here": here, "root": root, "navigation": NAVIGATION} | more
    )


def link_cell(cell: str) -> str:
    """Return the way from the reports' folder to a cell's page."""
    return f"cell.html#{quote(cell, safe='')}"


@cache
def _make_environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sortable"] = lambda value: f"{value:.6g}"
    environment.filters["number"] = write_number
    environment.filters["seconds"] = write_seconds
    environment.filters["bytes"] = write_bytes
    environment.filters["gain"] = write_gain
    environment.filters["cell_link"] = link_cell
    # dump_json escapes what could end the script element that it is written into.
    environment.filters["embed"] = lambda value: Markup(dump_json(value))  # noqa: S704
    # What is handed to it is read from our own files.
    environment.filters["own"] = lambda text: Markup(text)  # noqa: S704
    return environment
