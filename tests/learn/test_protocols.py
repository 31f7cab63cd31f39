"""Errors and baselines against figures worked out by hand, and intervals against theory."""

import numpy as np
import pytest

from opticaldr.models.training.protocols import Sessions, concordance, figures, score_report


def test_concordance_is_lins():
    score = np.array([1.0, 2.0, 3.0, 4.0])
    assert concordance(score, score) == pytest.approx(1.0)
    assert concordance(score + 1.0, score) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1.0))
    assert concordance(np.full(4, 2.5), score) == 0.0


def test_both_protocols_stand_beside_a_constant_and_a_lookup():
    trained = np.array(["a", "a", "b", "c"])
    totals = np.array([10.0, 14.0, 30.0, 6.0])
    tested = Sessions(
        np.array(["a", "b", "x", "y"]), np.array([12.0, 28.0, 15.0, 20.0]), np.array([11.0, 20, 15, 18])
    )
    report = score_report(tested, trained, totals, np.array([True, True, False, False]), 0)
    assert report["official"]["sessions"] == 4
    assert report["subject-disjoint"]["people"] == 2
    assert report["official"]["estimate"]["mae"][0] == pytest.approx((1 + 8 + 0 + 2) / 4)
    assert report["official"]["constant"]["mae"][0] == pytest.approx((3 + 13 + 0 + 5) / 4)
    assert report["official"]["lookup"]["mae"][0] == pytest.approx((0 + 2 + 0 + 5) / 4)
    # Strangers cannot be looked up.
    assert report["subject-disjoint"]["lookup"] == report["subject-disjoint"]["constant"]
    assert report["subject-disjoint"]["estimate"]["rmse"][0] == pytest.approx(np.sqrt(2))


def test_intervals_are_over_people_and_not_over_sessions():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 10)
    error = np.repeat(np.abs(rng.normal(8, 3, 40)), 10)
    value, low, high = figures(error, np.zeros(400), people, 0)["mae"]
    expected = error[::10].std() / np.sqrt(40)
    assert (high - low) / 2 == pytest.approx(1.96 * expected, rel=0.15)
    assert low < value < high
