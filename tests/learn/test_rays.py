"""Rays steer the learning; the wave decides. At the scale of superpixels they must agree."""

import numpy as np
import pytest
import torch

from opticaldr.errors import Refusal
from opticaldr.models.optics import preset, psf_bank, zernike_height
from opticaldr.models.training.rays import Rays

SPEC = preset("clinic")
SURFACES = [
    {4: 6e-6},
    {4: 2e-6, 5: 1e-6, 7: 1.5e-6, 11: 1e-6, 14: 1e-6},
    {6: -4e-6, 8: 2e-6, 9: -1e-6},
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("depth", [0.45, 1.1])
def test_transfer_agrees_with_the_wave(surface, depth):
    rays = Rays(SPEC, list(surface), [depth], 31, across=128)
    by_rays = rays.psf(torch.tensor(list(surface.values())), 0).numpy()
    wave = psf_bank(zernike_height(surface, SPEC), SPEC, [depth], shape=(31, 31))[0]
    difference = np.abs(np.fft.rfft2(by_rays, (64, 64)) - np.fft.rfft2(wave, (64, 64)))
    assert difference.max() < 0.06
    assert difference.mean() < 0.035


def test_defocus_spreads_over_the_disc_of_geometrical_optics():
    # Slope of a·(2ρ² − 1) at the edge is 4a/R, so the disc has the radius z·(n − 1)·4a/R.
    a = 8e-6
    rays = Rays(SPEC, [4], [SPEC.lens.focus], 41)
    psf = rays.psf(torch.tensor([a]), 0)[1].numpy()
    index = float(rays.index[1])
    radius = SPEC.sensor_distance * index * 4 * a / (SPEC.pupil.diameter / 2) / SPEC.sensor.superpixel
    y, x = np.mgrid[-20:21, -20:21]
    second_moment = float((psf * (x**2 + y**2)).sum())
    assert second_moment == pytest.approx(radius**2 / 2, rel=0.05)  # of a uniform disc
    assert psf.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("focus", [0.9, 30.0, -30.0, -2.0])
def test_out_of_focus_a_point_spreads_over_the_disc_of_geometrical_optics(focus):
    # Rays from depth d cross the pupil's rim R at R/d and leave for a point that they would come from at the focus f,
    # which lies behind the lens where f is negative; the disc has the radius z·R·|1/d - 1/f|.
    depth, lens = 1.1, SPEC.lens.model_copy(update={"focus": focus})
    spec = SPEC.model_copy(update={"lens": lens})
    rays = Rays(spec, [4], [depth], 41)
    rim = spec.pupil.diameter / 2
    radius = spec.sensor_distance * rim * abs(1 / depth - 1 / focus) / spec.sensor.superpixel
    landed = rays.path[0].norm(dim=0)
    assert float(landed.max()) == pytest.approx(radius, rel=0.02)
    assert float(landed.square().mean()) == pytest.approx(radius**2 / 2, rel=0.02)


def test_energy_that_lands_outside_is_missing():
    rays = Rays(SPEC, [4], [0.6], 5)
    assert rays.psf(torch.tensor([15e-6]), 0).sum(dim=(1, 2)).max() < 0.5


def test_gradient_is_the_slope_of_the_second_moment():
    rays = Rays(SPEC, [4, 7, 9], [0.6], 41, across=300)
    y, x = np.mgrid[-20:21, -20:21]
    weight = torch.as_tensor(x**2 + y**2, dtype=torch.float32)
    at = torch.tensor([9e-6, 4e-6, -4e-6])  # several superpixels wide

    def moment(coefficients):
        return (rays.psf(coefficients, 0) * weight).sum()

    gradient = torch.autograd.functional.jacobian(moment, at)
    for mode in range(3):
        step = torch.zeros(3)
        step[mode] = 1e-6
        slope = (moment(at + step) - moment(at - step)) / 2e-6
        assert float(gradient[mode]) == pytest.approx(float(slope), rel=0.05)


def test_optics_without_a_stock_lens_are_refused():
    with pytest.raises(Refusal, match="clinic"):
        Rays(preset("paper"), [4], [1.0], 31)
