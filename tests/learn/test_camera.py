"""The camera of the training loop against the sensor model of the twin."""

import numpy as np
import pytest
import torch

from opticaldr.models.optics import expose, form_image, preset
from opticaldr.models.training import camera as camera_module
from opticaldr.models.training.camera import Camera, noisy

SPEC = preset("clinic")


def test_noise_has_the_moments_of_the_sensor_model():
    level = torch.tensor([0.05, 0.4, 0.9])[:, None, None].expand(3, 120, 120)
    sensor = SPEC.sensor.model_copy(update={"crosstalk": 0.0})
    torch.manual_seed(0)
    quick = noisy(level[None], sensor)[0].numpy()
    slow = expose(level.numpy().astype(np.float64), sensor, rng=np.random.default_rng(0))
    for colour in range(3):
        assert quick[colour].mean() == pytest.approx(slow[colour].mean(), rel=2e-3)
        assert quick[colour].std() == pytest.approx(slow[colour].std(), rel=0.1)


def test_every_scene_goes_through_the_psf_of_its_own_view(monkeypatch):
    monkeypatch.setattr(camera_module, "noisy", lambda irradiance, sensor: irradiance)
    monkeypatch.setattr(camera_module, "EXPOSURES", (1.0, 1.0))
    generator = torch.Generator().manual_seed(0)
    bank = torch.rand(3, 3, 5, 5, generator=generator)
    scenes = torch.rand(7, 3, 20, 20, generator=generator)
    view = torch.tensor([2, 0, 1, 1, 2, 0, 2])
    captured = Camera(bank, SPEC.sensor).capture(scenes, view)
    for frame, scene, at in zip(captured, scenes, view.tolist(), strict=True):
        assert torch.allclose(frame, form_image(scene, bank[at]), atol=1e-5)


def test_gradient_reaches_the_psf():
    bank = torch.full((1, 3, 5, 5), 0.04, requires_grad=True)
    torch.manual_seed(0)
    Camera(bank, SPEC.sensor).capture(
        torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)
    ).sum().backward()
    assert bank.grad is not None
    assert (bank.grad > 0).all()
