"""Agreement with prysm (B. Dube), an independent library of physical optics."""

import importlib.metadata
import sys
import types

import numpy as np
import pytest

from opticaldr.models.optics import psf, zernike_height
from opticaldr.models.optics.geometry import centred


@pytest.fixture(scope="module")
def prysm():
    """prysm, which asks pkg_resources for its own version, a module that setuptools no longer brings."""
    stand_in = types.ModuleType("pkg_resources")
    stand_in.get_distribution = importlib.metadata.distribution
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pkg_resources", stand_in)
        pytest.importorskip("prysm")
        import prysm.polynomials
        import prysm.propagation

        yield prysm


@pytest.mark.proves("OPTICS-1")
def test_aberrated_psf_agrees(vary, prysm):
    """Defocus, astigmatism, coma and trefoil by prysm's own Zernikes and matrix transform, on a square stop.

    A square, because prysm has no soft rim; its samples, each a patch of the pupil, tile a square exactly.
    """
    samples, side, wavelength = 256, 33, 550e-9  # an odd side, for prysm's grid has a sample on the axis
    spec = vary("clinic", pupil__samples=samples, pupil__shape="square", sensor__pitch=1e-6)
    modes = {4: 3e-7, 6: 2e-7, 7: 4e-7, 10: -2e-7}
    axis = centred(samples, 2 / samples)
    x, y = np.meshgrid(axis, axis)
    rho, theta = np.hypot(x, y), np.arctan2(y, x)
    height = np.zeros_like(rho)
    for (n, m), value in zip([(2, 0), (2, 2), (3, -1), (3, 3)], modes.values(), strict=True):
        height += value * prysm.polynomials.zernike_nm(n, m, rho, theta, norm=False)
    phase = 2 * np.pi / wavelength * (spec.mask.material.index(wavelength) - 1) * height
    field = prysm.propagation.focus_fixed_sampling(
        np.exp(1j * phase),
        input_dx=spec.pupil.pitch * 1e3,
        prop_dist=spec.sensor_distance * 1e3,
        wavelength=wavelength * 1e6,
        output_dx=1.0,
        output_samples=side,
    )
    ours = psf(
        zernike_height(modes, spec),
        spec,
        [wavelength],
        0.6,
        shape=(side, side),
        binned=False,
        integrated=False,
    )[0]
    theirs = np.abs(field) ** 2
    theirs = theirs[::-1, ::-1]  # prysm leaves it to its user to turn the image upright
    assert np.abs(ours / ours.sum() - theirs / theirs.sum()).sum() <= 1e-3
