"""What the page says of parameters that the light does not tell apart."""

from opticaldr.calibration.report import groups


def test_what_hangs_together_is_named_once() -> None:
    pairs = [
        ("Z4", "spacing", 0.99),
        ("Z5", "rotation", 0.97),
        ("decentre x", "Z8", -0.96),
        ("Z13", "spacing", 0.96),
    ]
    assert groups(pairs) == [["Z5", "rotation"], ["decentre x", "Z8"], ["Z4", "spacing", "Z13"]]


def test_a_pair_may_join_two_groups() -> None:
    pairs = [("a", "b", 1.0), ("c", "d", 1.0), ("b", "d", 1.0)]
    assert groups(pairs) == [["a", "b", "c", "d"]]
