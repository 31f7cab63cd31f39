"""Gradients against finite differences."""

import numpy as np
import pytest

from opticaldr.models.optics import expose, expose_raw, form_image, psf_bank, zernike_height
from opticaldr.models.optics.fabrication import as_made
from opticaldr.models.optics.surfaces import start_parameters, surface

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def small(vary):
    return vary(
        "clinic",
        pupil__samples=64,
        sensor__wavelengths=(460e-9, 550e-9, 640e-9),
        sensor__efficiency={"red": (0, 0, 1), "green": (0, 1, 0), "blue": (1, 0, 0)},
        scene__illuminant=(1, 1, 1),
    )


def test_psf_bank_passes_gradcheck(small):
    rng = np.random.default_rng(0)
    height = zernike_height({4: 1e-6, 7: 5e-7}, small) + 1e-8 * rng.standard_normal((64, 64))
    micrometres = torch.tensor(height * 1e6, requires_grad=True)

    def bank(h):
        return psf_bank(h * 1e-6, small, [0.5], fields=[(0.05, 0.0)], shape=(3, 3))

    assert torch.autograd.gradcheck(bank, (micrometres,), eps=1e-5, atol=1e-6, fast_mode=True)


@pytest.mark.proves("OPTICS-2")
def test_gradient_of_a_zernike_coefficient_is_the_finite_difference(small):
    """Through surface, PSF and image to a loss, one coefficient moved by a nanometre."""
    kind = surface(small)
    rng = np.random.default_rng(1)
    scene, weights = torch.tensor(rng.random((3, 9, 9))), torch.tensor(rng.standard_normal((3, 9, 9)))
    start = start_parameters(small)
    start[3:8] = 5e-7

    def loss(parameters):
        psf = psf_bank(kind.height(parameters), small, [0.5], shape=(5, 5))[0]
        return (form_image(scene, psf) * weights).sum()

    parameters = torch.tensor(start, requires_grad=True)
    loss(parameters).backward()
    for j in (3, 6):
        step = np.zeros_like(start)
        step[j] = 1e-9
        difference = (loss(torch.tensor(start + step)) - loss(torch.tensor(start - step))) / 2e-9
        assert parameters.grad[j].item() == pytest.approx(difference.item(), rel=1e-4)


def test_image_formation_passes_gradcheck():
    rng = np.random.default_rng(2)
    scene = torch.tensor(rng.random((2, 3, 5, 6)), requires_grad=True)
    psf = torch.tensor(rng.random((3, 4, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(form_image, (scene, psf))


@pytest.mark.parametrize("read_out", [expose, expose_raw])
def test_the_sensor_passes_the_gradient_of_its_mean(small, read_out):
    """Noise and rounding are drawn around the mean: averaged over pixels, the gradient is the response's slope."""
    irradiance = torch.full((3, 64, 64), 0.3, dtype=torch.float64, requires_grad=True)
    read_out(irradiance, small.sensor, rng=np.random.default_rng(0)).mean().backward()
    scale = 1 if read_out is expose else (small.sensor.white_level - small.sensor.black_level)
    assert irradiance.grad.sum().item() == pytest.approx(scale, rel=5e-3)


def test_fabrication_lets_the_gradient_through(vary):
    spec = vary("clinic", pupil__samples=32, mask__levels=8, mask__wrap=1)
    height = torch.tensor(zernike_height({4: 3e-6}, spec), requires_grad=True)
    as_made(height, spec, np.random.default_rng(0)).sum().backward()
    assert torch.all(height.grad == 1)
