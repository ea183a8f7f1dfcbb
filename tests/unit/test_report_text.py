import pytest

from harness.report.curve import HEIGHT, WIDTH, draw_curves
from harness.report.text import write_bytes, write_moment, write_number, write_seconds
from ml.core.contracts import History

pytestmark = pytest.mark.unit


def test_curves_share_a_scale_and_mark_the_best_epoch():
    curves = draw_curves(
        [
            ("a", History(train=(4.0, 2.0, 1.0), validation=(4.0, 3.0, 3.5)), 2),
            ("b", History(train=(2.5,)), 0),
            ("c", History(), 0),
        ]
    )
    a, b = curves.curves
    assert a.train == f"M0 0l{WIDTH // 2} {HEIGHT * 2 // 3} {WIDTH // 2} {HEIGHT // 3}"
    assert a.validation == "M0 0l110 24 110-12"
    assert (a.best, b.best) == (WIDTH // 2, None)
    assert b.train == f"M0 {HEIGHT // 2}h0"
    assert (curves.high, curves.low, curves.logarithmic, curves.epochs) == (
        "4.00",
        "1.00",
        False,
        3,
    )
    assert draw_curves([("c", History(), 0)]) is None


def test_curves_turn_logarithmic_for_losses_far_apart():
    (curve,) = draw_curves([("a", History(train=(100.0, 10.0, 1.0)), 0)]).curves
    assert curve.train == f"M0 0l110 {HEIGHT // 2} 110 {HEIGHT // 2}"
    huge = draw_curves([("a", History(train=(1.7e308, -1.7e308)), 0)])
    assert huge.curves[0].train == f"M0 0l{WIDTH} {HEIGHT}"


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (write_number, 0.5, "0.500"),
        (write_number, 0.99964, "1.00"),
        (write_number, 12.345, "12.3"),
        (write_number, 999.6, "1.00k"),
        (write_number, -28341.0, "-28.3k"),
        (write_number, 0.0, "0"),
        (write_number, 1e-9, "1.00e-9"),
        (write_number, None, "–"),
        (write_seconds, 0.0032, "3.2 ms"),
        (write_seconds, 41.04, "41.0 s"),
        (write_seconds, 187.2, "3 min 07 s"),
        (write_seconds, 7500.0, "2 h 05 min"),
        (write_bytes, 512, "512 B"),
        (write_bytes, 1434, "1.4 KiB"),
        (write_bytes, 24 * 2**30, "24 GiB"),
        (write_moment, "2026-03-14T07:00:12.345+01:00", "2026-03-14 06:00 UTC"),
        (write_moment, "yesterday", "yesterday"),
    ],
)
def test_words_for_numbers(write, value, expected):
    assert write(value) == expected
