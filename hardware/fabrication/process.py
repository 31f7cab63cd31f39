"""One interface for every way of making a mask: what it can do, what it is told, what comes out of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.relief import Fiducial, Heights, Relief, Side, View
from opticaldr.hardware.fabrication.settings import Settings
from opticaldr.hardware.materials import material
from opticaldr.models.optics import Material, OpticsSpec

Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Wave:
    """The light a mask is made for.

    Args:
        wavelength: metres.
        index: refractive index of the mask's material there.
    """

    wavelength: float
    index: float

    @property
    def depth(self) -> float:
        """Height that retards the light by one wave, h₂π = λ/(n − 1), metres."""
        return self.wavelength / (self.index - 1)


@dataclass(frozen=True)
class Export:
    """One file a process has written.

    Args:
        name: file name in the mask's folder.
        purpose: one line for people.
        details: what a reader needs to get heights back; goes into the file's sidecar.
    """

    name: str
    purpose: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Violation:
    """One place where the drawn relief breaks a design rule.

    ``x`` and ``y`` are metres in the file's frame (X right, Y up, looking at the relief); ``pixels`` is the
    size of the connected region.
    """

    rule: str
    value: float
    limit: float
    unit: str
    x: float
    y: float
    pixels: int


class Process(Settings, ABC):
    """A process with its settings. Lengths are metres; errors are standard deviations between parts.

    Subclasses say how a relief is drawn into files (`drawn`, `write`) and what leaves the machine (`made`).
    The figures are typical of published tools, see docs/fabricate.md; ask the fab for its own.
    """

    wrapped: ClassVar[bool] = False

    material: str | None = Field(
        None, description="material of the relief (a name of hardware/materials.toml or a CSV table); "
        "the design's own if not given"
    )  # fmt: skip
    wavelength: Metres | None = Field(
        None, description="wavelength the heights are exact for (m); the middle of the design's if not given"
    )
    relief_faces: Side = Field(
        "scene", description="side of the plate that carries the relief: scene or sensor"
    )
    pixel: Metres = Field(description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(description="smallest pixel the process can place (m)")
    max_depth: Metres = Field(description="deepest relief (m)")
    max_slope: float = Field(gt=0, description="steepest slope dz/dr")
    blur: float = Field(ge=0, description="lateral blur of the made relief, standard deviation (m)")
    depth_error: Fraction = Field(description="relative error of the depth, standard deviation")
    form_error: float = Field(ge=0, description="low-order form error, standard deviation (m)")

    @property
    def view(self) -> View:
        """How this process's files look at the mask."""
        return View(self.relief_faces)

    def optics(self, spec: OpticsSpec) -> tuple[OpticsSpec, Wave, float]:
        """The design's optics with this process's material, its wave, and the factor on all heights.

        Another material retards less or more; the factor (n_design − 1)/(n_material − 1) makes up for it at
        the chosen wavelength. Dispersion differs at the others, and the prediction shows it.
        """
        lights = sorted(spec.sensor.wavelengths)
        wavelength = self.wavelength or lights[len(lights) // 2]
        designed = spec.mask.material.index(wavelength)
        if self.material is None:
            return spec, Wave(wavelength, designed), 1.0
        chosen = material(self.material)
        low, high = chosen.measured
        sampled = np.unique(np.r_[np.linspace(low, high, 400), lights, wavelength])
        sampled = sampled[(sampled >= low) & (sampled <= high)]
        for light in lights:
            chosen.index(light)
        table = Material(
            name=chosen.name,
            wavelengths=tuple(sampled.tolist()),
            indices=tuple(np.asarray(chosen.index(sampled)).tolist()),
        )
        index = float(chosen.index(wavelength))
        changed = spec.model_copy(update={"mask": spec.mask.model_copy(update={"material": table})})
        return changed, Wave(wavelength, index), (designed - 1) / (index - 1)

    def gridded(self, relief: Relief) -> Relief:
        """``relief`` on the process's pixels, with room for the orientation mark.

        Raises:
            Refusal: the pixel asked for is finer than the process can place.
        """
        if self.pixel < self.min_pixel * (1 - 1e-9):
            raise Refusal(
                f"{self.name} places pixels of {self.min_pixel * 1e6:.3g} um or more, "
                f"not {self.pixel * 1e6:.3g} um",
                f"set pixel to at least {self.min_pixel * 1e6:.3g} um",
            )
        if self.pixel > relief.width / 8:
            raise Refusal(
                f"pixels of {self.pixel:g} m cannot draw a relief of {relief.width:.3g} m",
                "lengths are metres unless they carry a unit: write pixel=1um",
            )
        samples = max(relief.samples, 2 * int(np.ceil(relief.width / self.pixel / 2 - 1e-9)))
        fine = relief.sampled(samples)
        if fine.pitch < self.min_pixel * (1 - 1e-9):
            raise Refusal(
                f"the aperture of {relief.width * 1e6:.0f} um holds only {relief.width / self.min_pixel:.0f} "
                f"pixels of {self.min_pixel * 1e6:.3g} um",
                "choose a finer process",
            )
        return fine.padded(samples // 8) if fine.square else fine

    def checked_depth(self, relief: Relief) -> Relief:
        """``relief`` itself; `Refusal` if it is deeper than the process allows."""
        if relief.depth() > self.max_depth:
            raise Refusal(
                f"the relief is {relief.depth() * 1e6:.2f} um deep, {self.name} makes at most "
                f"{self.max_depth * 1e6:.2f} um",
                "set max_depth if yours can, "
                + ("or fewer orders" if self.wrapped else "or wrap the phase with multilevel or grayscale"),
            )
        return relief

    @abstractmethod
    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The relief as the files will describe it: on the process's pixels, wrapped, quantised, marked."""

    @abstractmethod
    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """Write the process's files for a drawn relief into ``folder``."""

    def made(self, drawn: Relief, wave: Wave, rng: np.random.Generator | None = None) -> Relief:
        """The relief that leaves the machine: blurred, and with ``rng`` also with a part's random errors."""
        height = blurred(drawn.height, self.blur / drawn.pitch)
        if rng is not None:
            height = height * (1 + self.depth_error * rng.standard_normal())
            height = height + form(drawn, self.form_error, rng)
        return replace(drawn, height=height)

    @property
    def waves(self) -> int | None:
        """Waves of depth at which the relief wraps; None if it does not."""
        return None

    def outline(self, drawn: Relief) -> tuple[str, float]:
        """Shape (``round`` or ``square``) and diameter or side of the part, metres."""
        return "square", drawn.width

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """What the drawing sheet says about this process, as name and value."""
        rows = [("relief depth", f"{drawn.depth() * 1e6:.4f} um")]
        if self.depth_error:
            rows.append(("depth tolerance (2 sigma)", f"{200 * self.depth_error:.2g} %"))
        if self.form_error:
            rows.append(("form tolerance (2 sigma, RMS)", f"{2e9 * self.form_error:.0f} nm"))
        return [*rows, ("pixel", f"{drawn.pitch * 1e6:.4f} um, {drawn.samples} x {drawn.samples}")]

    def efficiency(self, detuning: float) -> float | None:
        """Closed-form diffraction efficiency at ``detuning`` = h₂π(λ₀)/h₂π(λ); None where nothing wraps."""
        return None

    def features(self, relief: Relief, drawn: Relief, wave: Wave) -> list[Violation]:
        """Rules of this process beyond depth and slope; ``relief`` is continuous, ``drawn`` as written."""
        return []


def marked(relief: Relief, view: View, step: float) -> Relief:
    """``relief`` with the orientation mark standing ``step`` metres out of it."""
    return Fiducial.beside(relief).engraved(relief, view, step)


def blurred(height: Heights, sigma: float) -> Heights:
    """Gaussian blur by ``sigma`` pixels."""
    from scipy.ndimage import gaussian_filter

    if sigma < 0.05:
        return height
    return np.asarray(gaussian_filter(height, sigma, mode="nearest"))


def form(relief: Relief, deviation: float, rng: np.random.Generator) -> Heights:
    """A random low-order form error: defocus, astigmatism and coma, together ``deviation`` metres RMS.

    Each of the five unit-RMS Zernikes (Noll 4 to 8) gets an equal share of the variance.
    """
    if deviation == 0:
        return np.zeros_like(relief.height)
    axis = relief.axis() / relief.radius
    x, y = axis[np.newaxis, :], axis[:, np.newaxis]
    square = np.minimum(x * x + y * y, 2.0)
    modes: list[NDArray[np.float64]] = [
        np.sqrt(3) * (2 * square - 1),
        2 * np.sqrt(6) * x * y,
        np.sqrt(6) * (x * x - y * y),
        np.sqrt(8) * (3 * square - 2) * y,
        np.sqrt(8) * (3 * square - 2) * x,
    ]
    weights = rng.standard_normal(len(modes)) * deviation / np.sqrt(len(modes))
    return np.asarray(sum(weight * mode for weight, mode in zip(weights, modes, strict=True)))
