"""One small design for all processes, and artefacts made from it."""

from pathlib import Path

import numpy as np
import pytest

from opticaldr.artefacts import Artefact, create
from opticaldr.hardware.fabrication.order import as_relief
from opticaldr.hardware.fabrication.relief import Relief
from opticaldr.models.optics import Optic, OpticsSpec, preset, zernike_height

SHAPE = {4: 0.8e-6, 5: 0.5e-6, 7: 0.9e-6, 8: 0.3e-6, 9: 0.6e-6, 12: 0.4e-6, 16: 0.3e-6}
"""The test design as Zernike coefficients, metres: defocus, astigmatism, coma, trefoil."""


def small_spec(samples: int = 128) -> OpticsSpec:
    """The clinic's optics with a coarser height map."""
    spec = preset("clinic")
    return spec.model_copy(update={"pupil": spec.pupil.model_copy(update={"samples": samples})})


@pytest.fixture(scope="session")
def optic() -> Optic:
    """A relief without any symmetry, some four waves deep."""
    spec = small_spec()
    return Optic(spec, zernike_height(SHAPE, spec))


@pytest.fixture(scope="session")
def relief(optic: Optic) -> Relief:
    """The design as a relief."""
    return as_relief(optic)


@pytest.fixture(scope="session")
def design(optic: Optic, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """The design as an artefact."""
    with create("design", tmp_path_factory.mktemp("design") / "design", seed=0) as draft:
        optic.write(draft.path)
    return draft.sealed()


def sealed(optic: Optic, folder: Path) -> Artefact:
    """Any optic as a design artefact."""
    with create("design", folder, seed=0) as draft:
        optic.write(draft.path)
    return draft.sealed()


def over_aperture(relief: Relief, height: np.ndarray) -> np.ndarray:
    """Heights inside the clear aperture, their mean taken off."""
    values = height[relief.aperture()]
    return values - values.mean()
