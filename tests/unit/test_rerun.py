import pytest
from report_fixture import make_head, make_record
from sweep_fixture import make_sweep

from harness.report.rerun import write_rerun

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("command", "mode", "rerun"),
    [
        (
            ("mlmatrix", "sweep", "--dataset", "oils", "--trials", "20"),
            "sweep",
            "mlmatrix sweep --dataset wine --algorithm mlp --framework pytorch --trials 20",
        ),
        (
            ("pytest", "-m", "slow_matrix"),
            "sweep",
            "pytest -m slow_matrix -k wine-mlp-pytorch-sweep",
        ),
        (("mlmatrix", "sweep"), "train", "pytest -m slow_matrix -k wine-mlp-pytorch-train"),
    ],
)
def test_a_cell_is_run_again_as_it_was(command, mode, rerun):
    record = make_sweep() if mode == "sweep" else make_record()
    assert write_rerun(record, make_head("run", command=command)) == rerun
