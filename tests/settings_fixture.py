"""Make the settings of a session, and a cell of it."""

from pathlib import Path

from harness.catalog.product import load_catalog, select_cells
from harness.markers import MatrixMarker
from harness.options import Settings


def make_settings(root=Path(), **changes):
    """Return settings of a session in a folder, small where nothing else is said."""
    values = {
        "root": root,
        "data": (),
        "reports": root / "reports",
        "require": (),
        "rows": 200,
        "replicates": 3,
        "seconds": 60.0,
        "timeout": 300.0,
        "strict_tracks": False,
    }
    return Settings(**(values | changes))


def make_cell(settings, **sides):
    """Return the one cell that has these names, as ``dataset="wine"``."""
    marker = MatrixMarker(**{side: (name,) for side, name in sides.items()})
    [cell] = select_cells(load_catalog(settings), marker, settings)
    return cell
