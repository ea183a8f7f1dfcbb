"""Read an xz-compressed pickle of a data frame without trusting it."""

from __future__ import annotations

import importlib
import io
import lzma
import pickle
from typing import Any

from ml.core.errors import DataInvalid, Unavailable
from ml.datasets.columns import Columns, named_columns

# What a plain frame of numbers and text needs, to the name, by pandas before and since 3.
# numpy has moved its modules, so the value says where the object lives now.
ALLOWED = {
    ("builtins", "slice"): "builtins",
    ("numpy", "dtype"): "numpy",
    ("numpy", "ndarray"): "numpy",
    ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy.core.numeric", "_frombuffer"): "numpy._core.numeric",
    ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy._core.numeric", "_frombuffer"): "numpy._core.numeric",
    ("pandas", "DataFrame"): "pandas",
    ("pandas", "Index"): "pandas",
    ("pandas", "RangeIndex"): "pandas",
    ("pandas._libs.internals", "_unpickle_block"): "pandas._libs.internals",
    ("pandas.core.frame", "DataFrame"): "pandas.core.frame",
    ("pandas.core.indexes.base", "Index"): "pandas.core.indexes.base",
    ("pandas.core.indexes.base", "_new_Index"): "pandas.core.indexes.base",
    ("pandas.core.indexes.range", "RangeIndex"): "pandas.core.indexes.range",
    ("pandas.core.internals.managers", "BlockManager"): "pandas.core.internals.managers",
}


class FrameUnpickler(pickle.Unpickler):
    """Resolve the names in ``ALLOWED`` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the allowed object of that exact name; raises DataInvalid for another."""
        if (module, name) not in ALLOWED:
            raise DataInvalid(
                f"the pickled frame asks for {module}.{name}, which a table has no use for",
                code="unsafe_pickle",
                expected="a pandas DataFrame of numbers and text",
                received=f"{module}.{name}",
                remedy="do not load this file; save the table as CSV or Parquet instead",
            )
        return getattr(importlib.import_module(ALLOWED[module, name]), name)


def read_frame_xz(content: bytes, where: str) -> Columns:
    """Read an xz-compressed pickled pandas frame whose hash was verified before.

    Raises DataInvalid if it is none or asks for anything else, Unavailable without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise Unavailable(
            f"{where} is a pandas frame and pandas is not installed",
            remedy="pip install 'pytest-mlmatrix[datasets]'",
        ) from None
    try:
        frame = FrameUnpickler(io.BytesIO(lzma.decompress(content))).load()
    except DataInvalid:
        raise
    except Exception as problem:  # noqa: BLE001 - a damaged pickle may raise anything
        raise DataInvalid(
            f"{where} is no readable xz-compressed frame: {type(problem).__name__}: {problem}",
            code="source_unreadable",
            remedy="install the package that carries it again",
        ) from None
    if not isinstance(frame, pd.DataFrame):
        raise DataInvalid(
            f"{where} holds no table",
            code="source_unreadable",
            expected="a pandas DataFrame",
            received=type(frame).__name__,
        )
    names = list(frame.columns)
    columns = [frame.iloc[:, place].to_numpy() for place in range(len(names))]
    return named_columns(names, columns, where)
