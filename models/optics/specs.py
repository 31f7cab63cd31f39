"""What an optic is made of, in numbers: pupil, mask, stock lens, sensor and scene, read from TOML.

All lengths are metres. Models are frozen and refuse unknown keys. The presets (`paper`, `paper-noll`,
`clinic`) are TOML files beside this module that state where their numbers come from.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from opticaldr.errors import Refusal

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _metres(shortest: float, longest: float) -> AfterValidator:
    """Lengths outside are in other units, such as 6 for a lens of 6 mm."""

    def within(value: float) -> float:
        if not shortest < value <= longest:
            raise ValueError(f"{value:g} is not between {shortest:g} and {longest:g} (lengths are metres)")
        return value

    return AfterValidator(within)


Length = Annotated[float, _metres(0, 1)]
"""Of a part of the camera."""
Wavelength = Annotated[float, _metres(100e-9, 100e-6)]
PixelPitch = Annotated[float, _metres(0, 1e-3)]
Normalisation = Literal["noll", "unit-amplitude"]

COLOURS = ("red", "green", "blue")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Material(_Spec):
    """Refractive index against wavelength, either as a table or as Sellmeier terms with their measured range.

    A table is interpolated linearly in 1/wavelength² (Cauchy); `sellmeier` holds pairs (B, C in µm²) of
    n² = 1 + Σ B·λ²/(λ² − C), and `measured` the range of wavelengths the terms were fitted to.
    """

    name: str
    wavelengths: tuple[Wavelength, ...] = ()
    indices: tuple[Annotated[float, Field(ge=1, le=5)], ...] = ()
    sellmeier: tuple[tuple[Finite, Finite], ...] = ()
    measured: tuple[Wavelength, Wavelength] | None = None

    @model_validator(mode="after")
    def _one_description(self) -> Self:
        if bool(self.wavelengths) == bool(self.sellmeier):
            raise ValueError("give either wavelengths and indices, or sellmeier and measured")
        if len(self.wavelengths) != len(self.indices):
            raise ValueError(f"{len(self.wavelengths)} wavelengths but {len(self.indices)} indices")
        if list(self.wavelengths) != sorted(set(self.wavelengths)):
            raise ValueError("wavelengths must increase")
        if self.sellmeier and self.measured is None:
            raise ValueError("sellmeier needs the measured range")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """Shortest and longest measured wavelength."""
        return self.measured or (self.wavelengths[0], self.wavelengths[-1])

    def index(self, wavelength: float) -> float:
        """Refractive index at one wavelength; a wavelength outside the measured range is refused."""
        shortest, longest = self.range
        if not shortest * (1 - 1e-9) <= wavelength <= longest * (1 + 1e-9):
            raise Refusal(
                f"the index of {self.name} is not known at {wavelength * 1e9:.0f} nm",
                f"use wavelengths between {shortest * 1e9:.0f} and {longest * 1e9:.0f} nm or give measured indices",
            )
        if self.sellmeier:
            square = (wavelength * 1e6) ** 2
            return float(np.sqrt(1 + sum(b * square / (square - c) for b, c in self.sellmeier)))
        inverse_square = np.asarray(self.wavelengths[::-1]) ** -2.0
        return float(np.interp(wavelength**-2.0, inverse_square, self.indices[::-1]))


class PupilSpec(_Spec):
    """The stop: a circle or a square, and the square grid of `samples`² that the height map is given on."""

    diameter: Length
    samples: Annotated[int, Field(ge=8, le=16384)]
    shape: Literal["circle", "square"] = "circle"

    @property
    def pitch(self) -> float:
        """Distance between two samples of the height map."""
        return self.diameter / self.samples


class MaskSpec(_Spec):
    """The learned surface: its material, how it is parametrised and what the process allows."""

    material: Material
    surface: Literal["zernike", "radial", "spline", "pixel"] = "zernike"
    normalisation: Normalisation = "unit-amplitude"
    modes: Annotated[int, Field(ge=1, le=2000)] = 15
    """Zernike polynomials; or knots, along the radius of a radial surface or each side of a spline."""
    start: dict[Annotated[int, Field(ge=1)], Finite] = {}
    max_sag: Length | None = None
    """Deepest relief the process can make, from lowest to highest point."""
    design_wavelength: Wavelength = 550e-9
    """Where a wave of phase is a wave: what `wrap` counts in."""
    wrap: Annotated[int, Field(ge=1)] | None = None
    """Fold the relief at this many waves of the design wavelength."""
    levels: Annotated[int, Field(ge=2)] | None = None
    """Number of equally spaced heights the process can make."""
    min_feature: Length | None = None
    """Smallest structure that the process resolves (full width at half maximum of its blur)."""
    tolerance: NotNegative = 0.0
    """Heights come out wrong by up to this much, evenly distributed."""
    tolerance_correlation: NotNegative = 0.0
    """Distance over which height errors hang together; 0 for independent samples."""

    @property
    def stepped(self) -> bool:
        """Whether the relief has steps, between which interpolation would invent heights."""
        return self.surface == "pixel" or self.wrap is not None or self.levels is not None

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # `start` is a dict

    @model_validator(mode="after")
    def _start_within_modes(self) -> Self:
        self.material.index(self.design_wavelength)
        if self.levels is not None and self.wrap is None and self.max_sag is None:
            raise ValueError("levels needs max_sag or wrap, to know the range they divide")
        if self.start and max(self.start) > self.modes:
            raise ValueError(f"start names Zernike {max(self.start)} but there are {self.modes} modes")
        return self


class Seidel(_Spec):
    """Third-order field aberrations of the stock lens: waves at 550 nm at the pupil's edge and the field's edge."""

    spherical: Finite = 0.0
    coma: Finite = 0.0
    astigmatism: Finite = 0.0
    field_curvature: Finite = 0.0
    distortion: Finite = 0.0
    field_edge: Positive = 0.35
    """Tangent of the field angle for which the figures hold."""


class LensSpec(_Spec):
    """A stock lens beside the mask: it images the plane at `focus` perfectly, except for `seidel`.

    A negative focus is beyond infinity: the sensor is nearer than the focal length, as in a housing screwed in too far.
    """

    focal_length: Length
    focus: Finite
    seidel: Seidel = Seidel()

    @model_validator(mode="after")
    def _real_image(self) -> Self:
        if 0 <= self.focus <= self.focal_length:
            raise ValueError("focus must lie farther than focal_length, or there is no real image")
        return self


class Efficiency(_Spec):
    """Quantum efficiency of the three colour filters, one number for each of the sensor's wavelengths."""

    red: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    green: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    blue: tuple[Annotated[float, Field(ge=0, le=1)], ...]


class SensorSpec(_Spec):
    """The sensor: raw pixels, their spectral response and their noise (EMVA 1288 terms)."""

    pitch: PixelPitch
    shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """Raw rows and columns that are read out."""
    binning: Annotated[int, Field(gt=0)] = 1
    """Raw pixels along one side of a superpixel, summed digitally colour by colour."""
    distance: Length | None = None
    """From pupil to sensor, where there is no stock lens; with one it follows from focal length and focus."""
    wavelengths: Annotated[tuple[Wavelength, ...], Field(min_length=1)]
    efficiency: Efficiency
    crosstalk: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of a pixel's charge that ends in its four neighbours."""
    bayer: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB"
    bits: Annotated[int, Field(ge=1, le=16)]
    black_level: Annotated[int, Field(ge=0)]
    """Raw digital number of a dark pixel."""
    full_well: Positive
    """Electrons at the highest digital number (gain 1)."""
    read_noise: NotNegative
    """Electrons RMS."""
    dark_current: NotNegative
    """Electrons a second at 25 °C; doubles every 6 K."""
    dark_nonuniformity: NotNegative = 0.0
    """Standard deviation of dark current between pixels, as a fraction."""
    prnu: NotNegative = 0.0
    """Standard deviation of the response between pixels, as a fraction."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for colour in COLOURS:
            response = getattr(self.efficiency, colour)
            if len(response) != len(self.wavelengths):
                raise ValueError(
                    f"efficiency.{colour} has {len(response)} values for {len(self.wavelengths)} wavelengths"
                )
            if sum(response) == 0:
                raise ValueError(f"efficiency.{colour} is zero at every wavelength")
        if any(side % self.binning for side in self.shape):
            raise ValueError(f"shape {self.shape} is not a multiple of binning {self.binning}")
        if self.binning > 1 and self.binning % 2:
            raise ValueError("binning must be even, so that a superpixel holds whole Bayer cells")
        if self.black_level >= 2**self.bits - 1:
            raise ValueError(f"black_level {self.black_level} leaves no range in {self.bits} bits")
        return self

    @property
    def superpixel(self) -> float:
        """Side of one binned pixel."""
        return self.pitch * self.binning

    @property
    def binned_shape(self) -> tuple[int, int]:
        """Rows and columns of superpixels."""
        return self.shape[0] // self.binning, self.shape[1] // self.binning

    @property
    def white_level(self) -> int:
        """Highest raw digital number."""
        return 2**self.bits - 1


class SceneSpec(_Spec):
    """Where the subject sits, how wide a face is, and the light (relative power at the sensor's wavelengths)."""

    near: Positive
    far: Positive
    face_width: Positive = 0.16
    illuminant: tuple[NotNegative, ...]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.far <= self.near:
            raise ValueError("far must be farther than near")
        return self


class OpticsSpec(_Spec):
    """Everything about one optical head except the mask's height map."""

    name: str
    pupil: PupilSpec
    mask: MaskSpec
    lens: LensSpec | None = None
    sensor: SensorSpec
    scene: SceneSpec

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.lens is None) == (self.sensor.distance is None):
            raise ValueError("give sensor.distance without a lens, and leave it out with one")
        if len(self.scene.illuminant) != len(self.sensor.wavelengths):
            raise ValueError(
                f"scene.illuminant has {len(self.scene.illuminant)} values "
                f"for {len(self.sensor.wavelengths)} sensor.wavelengths"
            )
        if not np.all(self.spectral_weights.sum(axis=1) > 0):
            raise ValueError("scene.illuminant leaves one colour of the sensor dark")
        return self

    @property
    def sensor_distance(self) -> float:
        """From the pupil to the sensor."""
        if self.lens is None:
            assert self.sensor.distance is not None
            return self.sensor.distance
        return 1 / (1 / self.lens.focal_length - 1 / self.lens.focus)

    @property
    def spectral_weights(self) -> NDArray[np.float64]:
        """[colour, wavelength]: share of each wavelength in what a colour of the sensor sees; rows sum to 1."""
        response = np.array([getattr(self.sensor.efficiency, colour) for colour in COLOURS])
        seen = response * np.asarray(self.scene.illuminant)
        return seen / np.maximum(seen.sum(axis=1, keepdims=True), 1e-300)


def load_spec(path: Path) -> OpticsSpec:
    """Read a spec from a TOML file; a mistake in it is refused with the name of the field."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path} is missing", "name a TOML file that exists, or a preset") from None
    return _parse(text, str(path))


def preset(name: str) -> OpticsSpec:
    """One of the specs that come with the software: `clinic`, `paper` or `paper-noll`."""
    folder = resources.files("opticaldr.models.optics") / "presets"
    known = sorted(
        file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")
    )
    if name not in known:
        raise Refusal(
            f"there is no preset called {name}",
            f"choose one of {', '.join(known)}, or a file that ends in .toml",
        )
    return _parse((folder / f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def _parse(text: str, source: str) -> OpticsSpec:
    try:
        return OpticsSpec.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{source} is not valid TOML: {error}", "mend the line it names") from None
    except ValidationError as error:
        # A misspelt key is unknown and, under its right name, missing: the first of the two says more.
        first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] in ("less_than_equal", "greater_than_equal"):
            what += f", not {first['input']}"
        raise Refusal(
            f"{source}: {field}: {what}" if field else f"{source}: {what}", "mend this field"
        ) from None
