"""The figures show what they say."""

import numpy as np
import pytest

from opticaldr.models.optics import draw, zernike_height


@pytest.fixture(scope="module")
def optic(vary):
    spec = vary("clinic", pupil__samples=64)
    return spec, zernike_height({4: 1e-6, 7: 1e-6}, spec)


def test_height_map_is_in_micrometres_inside_the_stop(optic):
    spec, height = optic
    shown = draw.draw_height(height, spec).axes[0].images[0].get_array()
    assert np.nanmax(shown) == pytest.approx(np.max(height[~np.isnan(shown.filled(np.nan))]) * 1e6)
    assert np.isnan(shown.filled(np.nan)[0, 0])


def test_phase_is_folded_at_one_wave(optic):
    spec, height = optic
    figure = draw.draw_phase(height, spec)
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(images) == 3
    assert all(np.nanmin(image) >= 0 and np.nanmax(image) < 1 for image in images)


def test_a_psf_for_every_depth_and_colour(optic):
    spec, height = optic
    figure = draw.draw_psfs(height, spec, [0.4, 1.2], shape=(9, 9))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert [title.split(",")[0] for title in titles if title] == ["0.4 m"] * 3 + ["1.2 m"] * 3


def test_mtf_curves_begin_at_one(optic):
    spec, height = optic
    figure = draw.draw_mtf(height, spec, [0.4, 1.2], shape=(9, 9))
    for axes in figure.axes:
        assert len(axes.lines) == 2
        assert all(line.get_ydata()[0] == pytest.approx(1) for line in axes.lines)
