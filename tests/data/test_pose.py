"""Turning a head and looking up what is seen are each other's inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.data.pose import point_seen, rotation, seen_at

WHO = SimulatedSubjects(0).identity(1)
ANGLES = st.fixed_dictionaries({turn: st.floats(-0.35, 0.35) for turn in ("yaw", "pitch", "roll")})


@settings(deadline=None, max_examples=60)
@given(ANGLES, st.floats(-0.35, 0.35), st.floats(-0.5, 0.55))
def test_what_is_seen_is_what_was_turned(at: dict[str, float], x: float, y: float) -> None:
    (seen,) = seen_at(WHO, np.array([[x, y]]), at)
    found = point_seen(WHO, *(np.array([[c]], np.float32) for c in seen), at)
    np.testing.assert_allclose([c.item() for c in found], [x, y], atol=0.02)  # 1.2 pixels of a 60-pixel face


@given(ANGLES)
def test_a_rotation_is_a_rotation(at: dict[str, float]) -> None:
    turn = rotation(at)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_the_nose_points_where_the_signs_say() -> None:
    ahead = np.array([0.0, 0.0, 1.0])  # towards the camera
    right, down = (
        rotation({"yaw": 0, "pitch": 0, "roll": 0} | {turn: 0.3}) @ ahead for turn in ("yaw", "pitch")
    )
    assert right[0] == pytest.approx(np.sin(0.3))
    assert down[1] == pytest.approx(np.sin(0.3))
    level = rotation({"yaw": 0, "pitch": 0, "roll": 0.3}) @ [1.0, 0.0, 0.0]
    assert level[1] == pytest.approx(np.sin(0.3))  # the eye at the right sinks: clockwise
