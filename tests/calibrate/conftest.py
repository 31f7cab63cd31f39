import pytest

from opticaldr.models.optics import Optic, OpticsSpec, preset, zernike_height
from opticaldr.models.optics.specs import Efficiency


@pytest.fixture(scope="session")
def design() -> Optic:
    spec = preset("clinic")
    return Optic(spec, zernike_height({4: 1e-6, 6: 1.5e-6, 7: 2e-6, 9: 2e-6, 11: 0.5e-6}, spec))


@pytest.fixture(scope="session")
def quick() -> OpticsSpec:
    """The clinic's optics made cheap to compute: a corner of the sensor, three wavelengths."""
    spec = preset("clinic")
    efficiency = {"red": (0.03, 0.1, 0.5), "green": (0.2, 0.6, 0.1), "blue": (0.4, 0.1, 0.03)}
    sensor = spec.sensor.model_copy(
        update={
            "shape": (192, 192),
            "wavelengths": (470e-9, 550e-9, 630e-9),
            "efficiency": Efficiency(**efficiency),
        }
    )
    scene = spec.scene.model_copy(update={"illuminant": (0.8, 1.0, 0.9)})
    return spec.model_copy(update={"sensor": sensor, "scene": scene})


@pytest.fixture(scope="session")
def small(quick) -> Optic:
    """A weak mask, whose spot is small."""
    return Optic(quick, zernike_height({4: 0.5e-6, 5: 0.5e-6, 7: 0.7e-6}, quick))
