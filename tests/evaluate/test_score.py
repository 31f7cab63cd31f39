"""The score through an optic: read behind each alike, and set beside the lens's session by session."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from opticaldr.models.evaluation.score import excess_error, read_scores, record
from opticaldr.models.evaluation.utility import Estimates, regression
from opticaldr.models.evaluation.views import PsfView, sharp
from opticaldr.models.optics import preset


def test_the_excess_is_a_paired_difference_over_people():
    rng = np.random.default_rng(0)
    truth, people = rng.uniform(0, 60, 200), np.arange(200)
    own, added = rng.normal(0, 8, 200), rng.normal(0.5, 1, 200)
    lens = Estimates(truth + own, truth, people, 20.0)
    other = Estimates(truth + np.sign(own) * (np.abs(own) + added), truth, people, 20.0)
    above = np.abs(other.said - truth) - np.abs(own)
    expected = ttest_1samp(above, 0).confidence_interval(0.95)
    found = excess_error(other, lens, seed=0)
    assert found.value == pytest.approx(above.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert excess_error(lens, lens, seed=0).json() == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_behind_a_lens_that_shows_nothing_nobody_is_read_better_than_by_who_says_the_median():
    recordings = record(range(120), range(500, 600), [60.0], seed=0, size=(96, 96))
    sensor = preset("clinic").sensor
    dark = PsfView("dark", np.full((1, 3, 3, 3), 1e-9, np.float32))
    seen, unseen = (
        recordings.estimates(read_scores(view, recordings, sensor, seed=0)) for view in (sharp(1), dark)
    )
    assert excess_error(unseen, seen, seed=0).low > 0
    assert regression(seen, seed=0)["mae_reduction"].low > 0
    assert regression(unseen, seed=0)["mae_reduction"].value < 0.05
