"""Give a framework's entry point, or skip the test where the framework is not installed."""

import pytest

from ml.core.errors import Unavailable
from ml.registry import entry_point


def entry_point_or_skip(framework):
    try:
        return entry_point(framework)
    except Unavailable as missing:
        pytest.skip(str(missing))
