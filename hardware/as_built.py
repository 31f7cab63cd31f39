"""What comes back from the workshop and the assembly bench: the design, plus errors that nobody announced."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from opticaldr.models.optics import Optic, OpticsSpec, noll_to_nm, zernike
from opticaldr.models.optics.geometry import pupil_positions

FORM_MODES = range(4, 37)
"""Noll indices of the form error: from defocus on, up to seventh order."""

PINHOLE = 50e-6
"""Diameter of the point source as bought, metres."""


class Tolerances(BaseModel):
    """One standard deviation of every error, as a workshop or an assembler would quote it.

    `form`: RMS of the surface over the pupil, metres; `decentre`: of the plate in x and in y, metres;
    `rotation`: of the plate about the axis, radians; `spacing`: of the distance from pupil to sensor, metres;
    `aperture`: of the stop's diameter, as a fraction of it; `source`: of the bench's pinhole, metres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: float = Field(default=80e-9, ge=0, le=2e-6)
    decentre: float = Field(default=25e-6, ge=0, le=500e-6)
    rotation: float = Field(default=8e-3, ge=0, le=0.2)
    spacing: float = Field(default=15e-6, ge=0, le=500e-6)
    aperture: float = Field(default=4e-3, ge=0, le=0.05)
    source: float = Field(default=8e-6, ge=0, le=50e-6)


UNQUOTED = Tolerances(
    form=250e-9, decentre=75e-6, rotation=0.025, spacing=45e-6, aperture=0.012, source=20e-6
)
"""Three times the tolerances of ordinary work: what to expect where nobody has quoted any."""


def form_deviations(form: float) -> NDArray[np.float64]:
    """Standard deviation of the coefficient of each of `FORM_MODES`, metres: it falls with radial order as n⁻²."""
    weights = np.array([noll_to_nm(j)[0] ** -2.0 for j in FORM_MODES])
    return form * weights / np.sqrt(np.sum(weights**2))


@dataclass(frozen=True)
class BuildErrors:
    """How one built optic differs from its design.

    Attributes:
        form: {Noll j: metres RMS} added to the surface, in the pupil's frame.
        decentre: shift (x, y) of the plate against the stop, metres.
        rotation: turn of the plate about the optical axis, radians, from +x towards +y.
        spacing: increase of the distance from pupil to sensor, metres.
        aperture: increase of the stop's diameter, as a fraction.
        source: increase of the pinhole's diameter over `PINHOLE`, metres; the bench's, not the optic's.
    """

    form: dict[int, float] = field(default_factory=dict)
    decentre: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    spacing: float = 0.0
    aperture: float = 0.0
    source: float = 0.0

    @classmethod
    def draw(cls, tolerances: Tolerances, rng: np.random.Generator) -> BuildErrors:
        """Errors as they may happen within `tolerances`."""
        coefficients = rng.standard_normal(len(FORM_MODES)) * form_deviations(tolerances.form)
        x, y, turn, spacing, aperture, source = rng.standard_normal(6)
        return cls(
            form=dict(zip(FORM_MODES, coefficients.tolist(), strict=True)),
            decentre=(x * tolerances.decentre, y * tolerances.decentre),
            rotation=turn * tolerances.rotation,
            spacing=spacing * tolerances.spacing,
            aperture=aperture * tolerances.aperture,
            source=source * tolerances.source,
        )


def build(design: Optic, errors: BuildErrors) -> Optic:
    """The optic that `design` becomes with these errors, on the grid of the stop as it was made."""
    from scipy.ndimage import map_coordinates

    spec = stopped(respaced(design.spec, errors.spacing), errors.aperture)
    x, y = pupil_positions(spec)
    where = plate_positions(design.spec, x, y, errors.decentre, errors.rotation)
    plate: NDArray[np.float64] = map_coordinates(design.height, where, order=3, mode="nearest")
    return Optic(spec, plate + form_error(errors.form, design.spec.pupil.diameter / 2, x, y))


def plate_positions(
    spec: OpticsSpec,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    decentre: tuple[float, float],
    rotation: float,
) -> NDArray[np.float64]:
    """Where on the plate (row and column of its height map) the points (x, y) of the pupil lie: [2, *x.shape]."""
    dx, dy = x - decentre[0], y - decentre[1]
    cosine, sine = np.cos(rotation), np.sin(rotation)
    turned = np.stack([cosine * dy - sine * dx, cosine * dx + sine * dy])
    return turned / spec.pupil.pitch + (spec.pupil.samples - 1) / 2


def form_error(
    coefficients: dict[int, float], radius: float, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Heights at points (x, y) of unit-RMS (Noll) Zernikes {j: metres} on a disc of `radius`, continued beyond it."""
    height = np.zeros_like(x)
    for j, value in coefficients.items():
        height += value * zernike(j, x / radius, y / radius, "noll")
    return height


def respaced(spec: OpticsSpec, spacing: float) -> OpticsSpec:
    """The spec with its sensor `spacing` metres farther from the pupil; a stock lens keeps its focal length."""
    distance = spec.sensor_distance + spacing
    if spec.lens is None:
        sensor = spec.sensor.model_copy(update={"distance": distance})
        return spec.model_copy(update={"sensor": sensor})
    focus = 1 / (1 / spec.lens.focal_length - 1 / distance)
    return spec.model_copy(update={"lens": spec.lens.model_copy(update={"focus": focus})})


def stopped(spec: OpticsSpec, aperture: float) -> OpticsSpec:
    """The spec with a stop wider by the fraction `aperture`."""
    pupil = spec.pupil.model_copy(update={"diameter": spec.pupil.diameter * (1 + aperture)})
    return spec.model_copy(update={"pupil": pupil})
