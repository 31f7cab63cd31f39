"""The verdict at the head of a report: no lens passes through which somebody may be recognised."""

import pytest

from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.verdict import judge_protection

SURE, UNSURE, BELOW = Interval(0.99, 0.98, 1.0), Interval(0.68, 0.50, 0.85), Interval(0.70, 0.66, 0.74)


@pytest.mark.proves("PRIVACY-1")
@pytest.mark.parametrize(
    ("aucs", "passes", "words"),
    [
        ([SURE, BELOW], False, "recognise people"),
        ([BELOW, UNSURE], False, "not sure"),
        ([BELOW], True, "no proof"),
    ],
    ids=["recognised", "undecided by another than the highest", "below"],
)
def test_every_interval_counts_and_not_only_that_of_the_highest_figure(aucs, passes, words):
    passed, why = judge_protection(aucs, [])
    assert passed == passes
    assert words in why


def test_attackers_who_cannot_attack_make_no_lens_pass():
    passed, why = judge_protection([BELOW], ["simulated: nobody saw through a mild blur"])
    assert not passed
    assert "proves nothing: simulated: nobody saw" in why
