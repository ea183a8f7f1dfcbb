import random

import pytest
from report_fixture import make_record, make_result

from harness.report.cells import build_row
from ml.core.contracts import DistillationInfo

pytestmark = pytest.mark.unit


def detail_of(**changes):
    values = {
        "teacher_metrics": ({"roc_auc": 0.9},),
        "teacher_parameters": 0,
        "teacher_artifact_bytes": 1000,
        "teacher_fit": 1.0,
        "teacher_latency": 0.4,
        "student_latency": 0.1,
        "size_reduction_percent": 97.25,
        "metric_change": -0.0125,
        "speed_up": 4.0,
        "agreement": 0.95,
    }
    result = make_result("wine-student-pytorch-distill", "pytorch", "classification", 0.5, True,
                         random.Random(1))  # fmt: skip
    info = DistillationInfo(**{**values, **changes})
    result = result.model_copy(update={"distillation": info})
    record = make_record(algorithm="student", mode="distill", result=result)
    return build_row(record, "anchor").detail.model


def test_a_student_is_described_against_its_teacher():
    text = detail_of()
    assert text.endswith(
        "97.2 % smaller than its teacher, 4.00 times as fast, roc_auc worse by 0.0125, "
        "agreement 0.950"
    )
    assert "roc_auc better by 0.0125" in detail_of(metric_change=0.0125)


def test_what_is_not_defined_is_left_out():
    text = detail_of(metric_change=None, agreement=None)
    assert text.endswith("4.00 times as fast")
