import pytest

from ml.core.errors import DataInvalid, MatrixError, describe

pytestmark = pytest.mark.unit


def test_an_error_prints_all_that_it_knows():
    error = DataInvalid("no rows", code="none", expected="1", received="0", remedy="add one")
    assert str(error) == "no rows; expected 1; received 0; add one"
    assert (error.code, error.field) == ("none", None)
    assert str(MatrixError("it failed")) == "it failed"


def test_a_received_value_is_described_in_one_short_line():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert describe("a\nb") == "'a\\nb'"
    assert describe({"a": 1}) == "{'a': 1}"
    assert describe(list(range(1000)), limit=20) == "[0, 1, 2, 3, 4, 5, …"
    assert describe(Broken()) == "<Broken whose repr raised RuntimeError>"
    assert describe(nested) == "<list whose repr raised RecursionError>"
