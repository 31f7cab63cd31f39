"""What an ablation concludes from several studies."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from opticaldr.cli.ablate import compared


def study(lens, **controls):
    """A study in which only what `compared` asks for is there: worst-case AUCs by optic."""
    aucs = {"lens under test": lens, **controls}
    return SimpleNamespace(
        subject="lens under test",
        matches=[SimpleNamespace(view=SimpleNamespace(name=name)) for name in controls],
        utility={name: SimpleNamespace(expression=SimpleNamespace(value=0.5)) for name in aucs},
        worst=lambda name="lens under test": SimpleNamespace(auc=SimpleNamespace(value=aucs[name])),
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
