import pytest
from conftest import PROTOTYPES

from harness.testing import parametrize_with_checks


@pytest.mark.contract
@parametrize_with_checks([PROTOTYPES])
def test_our_algorithm_keeps_the_promises_of_the_matrix(algorithm, check):
    check(algorithm)


@pytest.mark.smoke
@pytest.mark.matrix(dataset="deliveries", algorithm="prototypes")
def test_our_algorithm_sees_which_deliveries_will_be_late(cell):
    record = cell.run()
    assert record.score.value > 0.65


@pytest.mark.slow_matrix
@pytest.mark.matrix(dataset=["deliveries", "wine", "breast_cancer"], framework="sklearn")
def test_our_data_and_ours_beside_the_others(cell):
    cell.run()
