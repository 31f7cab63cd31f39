import pytest

from opticaldr.models.optics import Optic, preset, zernike_height


@pytest.fixture(scope="session")
def design() -> Optic:
    spec = preset("clinic")
    return Optic(spec, zernike_height({4: 1e-6, 6: 1.5e-6, 7: 2e-6, 9: 2e-6, 11: 0.5e-6}, spec))
