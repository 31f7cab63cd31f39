"""What an ablation concludes from several studies."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from opticaldr.cli.ablate import compared

LENS = "lens under test"


def value(number):
    return SimpleNamespace(value=number)


def study(lens, errors=None, **controls):
    """A study in which only what `compared` asks for is there: worst-case AUCs by optic, and errors of the score."""
    aucs = {LENS: lens, **controls}
    errors = errors or {}
    return SimpleNamespace(
        subject=LENS,
        controls=list(controls),
        utility={name: SimpleNamespace(expression=value(0.5), accuracy=value(0.8)) for name in aucs},
        scores={
            name: {
                "mae": value(mae),
                "mae_above_lens": value(mae - errors[LENS]),
                "constant_mae": value(12.0),
            }
            for name, mae in errors.items()
        },
        worst=lambda name=LENS: SimpleNamespace(auc=value(aucs[name])),
    )


def test_a_control_is_beaten_only_if_its_lead_is_sure_to_be_above_zero():
    studies = [
        study(0.90, blur=0.95, defocus=0.93),
        study(0.92, blur=0.96, defocus=0.91),
        study(0.88, blur=0.94, defocus=0.90),
    ]
    found = compared(studies)
    blur, defocus = found["optics"]["blur"], found["optics"]["defocus"]
    interval = ttest_1samp([0.05, 0.04, 0.06], 0).confidence_interval(0.95)
    assert blur["lead"] == pytest.approx([0.05, interval.low, interval.high])
    assert blur["beaten"]
    assert defocus["lead"][0] == pytest.approx(np.mean([0.03, -0.01, 0.02]))
    assert not defocus["beaten"]
    assert not found["beats_all"]
    assert found["optics"]["lens"]["auc"][0] == pytest.approx(0.90)
    assert "mae" not in blur


def test_the_error_of_the_score_stands_beside_the_match_as_a_difference_from_the_lens():
    errors = [{LENS: 9.0, "blur": 9.5}, {LENS: 10.0, "blur": 10.2}, {LENS: 8.0, "blur": 8.8}]
    found = compared([study(0.9, error, blur=0.95) for error in errors])
    lens, blur = found["optics"]["lens"], found["optics"]["blur"]
    assert found["constant_mae"][0] == pytest.approx(12.0)
    assert lens["mae"][0] == pytest.approx(9.0)
    interval = ttest_1samp([0.5, 0.2, 0.8], 0).confidence_interval(0.95)
    assert blur["mae_above_lens"] == pytest.approx([0.5, interval.low, interval.high])
    assert "mae_above_lens" not in lens
