"""Write the site's files: whole, under names that are safe, with data that a page asks for."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ml.core.errors import Unavailable

STATIC = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
DATA = "data"
STYLES = "plotly-styles"
# The call that a data file makes; assets/site.js defines it.
CALL = "mlmatrixData"
SLUG_CHARACTERS = 60
HASH_CHARACTERS = 12


def name_file(kind: str, name: str) -> str:
    """Return a file's stem for a name: readable, distinct by a hash, and safe in a path."""
    slug = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:SLUG_CHARACTERS]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARACTERS]
    return "-".join(part for part in (kind, slug, digest) if part)


def write_data(reports: Path, stem: str, value: Any) -> bool:
    """Write ``data/<stem>.js``, which a page loads by ``mlmatrix.load(stem)``; tell if it changed.

    A script is what a page can load from ``file://``; ``fetch`` is refused there.
    """
    text = f"{CALL}({dump_json(stem)},{dump_json(value)});\n"
    return replace_file(reports / DATA / f"{stem}.js", text.encode())


def read_data(reports: Path, stem: str) -> Any:
    """Return what ``write_data`` wrote; None where there is no such file, or it is no such data."""
    try:
        text = (reports / DATA / f"{stem}.js").read_text(encoding="utf-8")
        return json.loads(text.removeprefix(f"{CALL}({dump_json(stem)},").removesuffix(");\n"))
    except (OSError, ValueError):
        return None


def dump_json(value: Any) -> str:
    """Return JSON that neither ends a script element nor breaks a line of JavaScript.

    A number that is not finite becomes null, as JSON has none.
    """
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_make_finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def copy_assets(reports: Path) -> bool:
    """Copy scripts, styles and Plotly beside the pages; tell whether a script or style changed.

    Raises Unavailable without plotly.
    """
    changed = [
        replace_file(reports / "assets" / source.name, source.read_bytes())
        for source in sorted(STATIC.iterdir())
    ]
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "plotly is not installed, and the report's charts need it",
            remedy="pip install 'pytest-mlmatrix[report]'",
        )
    source = Path(spec.origin).parent / "package_data" / PLOTLY
    copy, size = reports / "assets" / PLOTLY, source.stat().st_size
    whole = copy.exists() and (reports / DATA / f"{STYLES}.js").exists()
    if not whole or copy.stat().st_size != size:
        content = source.read_bytes()
        replace_file(copy, content)
        # Plotly leaves out a style of its own where an element has this id already; the pages'
        # policy would refuse the style, and the browser's console tell of it.
        found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', content)
        write_data(reports, STYLES, sorted({one.decode() for one in found}))
    return any(changed)


def replace_file(path: Path, content: bytes) -> bool:
    """Put a file in place whole, and tell whether it differs from what was there.

    A reader sees the old file or the new one; two sessions that end together do no harm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content:
        os.utime(path)
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def _make_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _make_finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_make_finite(one) for one in value]
    return value
