"""sRGB against the figures of IEC 61966-2-1 and against itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opticaldr.models.data import linear_to_srgb, srgb_bytes, srgb_to_linear


@pytest.mark.parametrize(
    ("encoded", "linear"),
    [(0.0, 0.0), (0.04045, 0.04045 / 12.92), (0.5, 0.21404114), (0.735357, 0.5), (1.0, 1.0)],
)
def test_known_values(encoded: float, linear: float) -> None:
    assert srgb_to_linear(np.array(encoded)) == pytest.approx(linear, abs=1e-6)
    assert linear_to_srgb(np.array(linear)) == pytest.approx(encoded, abs=1e-6)


@given(st.floats(0.0, 1.0))
def test_the_two_curves_undo_each_other(value: float) -> None:
    assert linear_to_srgb(srgb_to_linear(np.array(value))) == pytest.approx(value, abs=1e-7)


def test_every_byte_survives_a_round_trip() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert srgb_to_linear(every).dtype == np.float32
    assert np.array_equal(srgb_bytes(srgb_to_linear(every)), every)
    np.testing.assert_allclose(srgb_to_linear(every), srgb_to_linear(every / 255.0), atol=1e-7)


def test_light_outside_the_screen_is_clipped() -> None:
    assert srgb_bytes(np.array([-0.5, 3.0])).tolist() == [0, 255]
