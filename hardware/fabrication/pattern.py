"""The mask on a spatial light modulator: resampled to its pixels, then wrapped, then made grey."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.process import Metres, Wave
from opticaldr.hardware.fabrication.relief import LETTER_F, Heights, Relief
from opticaldr.hardware.fabrication.settings import Settings
from opticaldr.hardware.slms import Panel, Response, panel, read_response
from opticaldr.models.optics import OpticsSpec

TURN = 2 * np.pi


class SlmPattern(Settings):
    """How a design is shown on an SLM. Lengths are metres, on the panel as one looks at it."""

    name: ClassVar[str] = "slm"
    title: ClassVar[str] = "pattern for a spatial light modulator"

    slm: str = Field("generic", description="preset of hardware/slms/presets.toml, or a TOML file like it")
    lut: Path | None = Field(
        None, description="measured grey-to-phase table (CSV or JSON); a straight line to 2 pi if not given"
    )
    wavelength: Metres | None = Field(
        None, description="light on the SLM (m); the table's if not given, else the middle of the design's"
    )
    resolution: tuple[int, int] | None = Field(
        None, description="[columns, rows] the SLM is driven with, to be checked against the preset's"
    )
    polarity: Literal[1, -1] = Field(1, description="1 if brighter retards more (without a table)")
    flatness: Path | None = Field(
        None, description="correction added to the phase: .npy in radians, or a grey picture in which the "
        "number of levels is one turn"
    )  # fmt: skip
    mirrored: bool = Field(False, description="swap left and right, for an SLM seen through a mirror")
    x: float = Field(0.0, description="where the optical axis meets the panel, right of its middle (m)")
    y: float = Field(0.0, description="the same, below its middle (m)")

    def panel(self) -> Panel:
        """The SLM; `Refusal` if it is driven with another resolution than it has."""
        one = panel(self.slm)
        if self.resolution is not None and self.resolution != (one.columns, one.rows):
            columns, rows = self.resolution
            raise Refusal(
                f"{one.title} has {one.columns} x {one.rows} pixels, not {columns} x {rows}",
                "name the right SLM, or set its resolution in the system",
            )
        return one

    def response(self, one: Panel, spec: OpticsSpec) -> Response:
        """Grey to phase at the light's wavelength.

        Raises:
            Refusal: the table is for another wavelength than asked for, or the design does not use that
            light.
        """
        lights = spec.sensor.wavelengths
        if self.lut is None:
            wavelength = self.wavelength or sorted(lights)[len(lights) // 2]
            table = Response.linear(one.levels, wavelength, self.polarity)
        else:
            table = read_response(self.lut).checked(one.levels, str(self.lut))
            if self.wavelength is not None and abs(self.wavelength - table.wavelength) > 2e-9:
                raise Refusal(
                    f"{self.lut} was measured at {table.wavelength * 1e9:.0f} nm, the light is "
                    f"{self.wavelength * 1e9:.0f} nm",
                    "measure the table at this wavelength",
                )
        low, high = min(lights), max(lights)
        if not low - 20e-9 <= table.wavelength <= high + 20e-9:
            raise Refusal(
                f"the pattern would be for {table.wavelength * 1e9:.0f} nm, the design is for "
                f"{low * 1e9:.0f} to "
                f"{high * 1e9:.0f} nm",
                "use a table and a light that the design sees",
            )
        return table

    def correction(self, one: Panel) -> Heights:
        """Phase added to every pixel of the panel, radians."""
        if self.flatness is None:
            return np.zeros(one.shape)
        return read_flatness(self.flatness, one)


def read_flatness(path: Path, one: Panel) -> Heights:
    """Radians ``[row, column]`` of a flatness correction for ``one``; refuses another panel's."""
    try:
        if path.suffix == ".npy":
            phase = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        else:
            from PIL import Image

            phase = np.asarray(Image.open(path), dtype=np.float64) * TURN / one.levels
    except (OSError, ValueError) as error:
        raise Refusal(
            f"the flatness map {path} cannot be read ({error})", "give .npy or a grey picture"
        ) from None
    if phase.shape != one.shape:
        size = " x ".join(map(str, phase.shape[1::-1] if phase.ndim == 2 else phase.shape))
        raise Refusal(
            f"the flatness map {path} is {size}, {one.title} is {one.columns} x {one.rows}",
            "use the map that came with this SLM",
        )
    return phase


@dataclass(frozen=True)
class Shown:
    """What goes onto the panel.

    Args:
        frame: grey levels ``[row, column]``.
        phase: the phase that those levels make, without the flatness correction, radians.
        aliased: pixels inside the aperture where the wanted phase climbs by more than half a turn a pixel.
    """

    frame: NDArray[np.uint16]
    phase: Heights
    aliased: NDArray[np.bool_]


def show(relief: Relief, wave: Wave, one: Panel, response: Response, settings: SlmPattern) -> Shown:
    """Turn a continuous relief into a frame.

    The continuous height is resampled at the panel's pixel centres and only then turned into phase and
    wrapped: interpolating wrapped phase would invent heights along every seam.

    Raises:
        Refusal: the aperture does not fit on the panel.
    """
    from scipy.ndimage import map_coordinates

    x, y = one.grid()
    x, y = x - settings.x, y - settings.y
    room = min(-x[0], x[-1], -y[0], y[-1]) + one.pitch / 2
    if room < relief.radius:
        raise Refusal(
            f"the aperture of {relief.radius * 2e3:.2f} mm needs {relief.radius * 1e3:.2f} mm on every "
            f"side of the "
            f"axis, {one.title} leaves {room * 1e3:.2f} mm",
            "use a larger panel, or move x and y",
        )
    across = -x if settings.mirrored else x
    columns = across / relief.pitch + (relief.samples - 1) / 2
    rows = y / relief.pitch + (relief.samples - 1) / 2
    grid = np.meshgrid(rows, columns, indexing="ij")
    height = map_coordinates(relief.height, grid, order=3, mode="nearest")
    if relief.square:
        inside = np.maximum(np.abs(x), np.abs(y[:, np.newaxis])) <= relief.radius
    else:
        inside = np.hypot(x, y[:, np.newaxis]) <= relief.radius
    wanted = np.where(inside, height * (TURN / wave.depth), 0.0)
    wanted[corner_mark(one.shape, inside)] = np.pi
    correction = settings.correction(one)
    frame = response.greys(wanted + correction)
    steps = [
        np.abs(np.diff(wanted, axis=axis, append=np.take(wanted, [-1], axis=axis))) > np.pi for axis in (0, 1)
    ]
    both = inside & np.roll(inside, -1, 0) & np.roll(inside, -1, 1)
    return Shown(frame, response.phases(frame) - correction, both & (steps[0] | steps[1]))


def corner_mark(shape: tuple[int, int], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The letter F in the upper left corner, half a turn of phase; smaller if the aperture comes near."""
    mark = np.zeros(shape, dtype=bool)
    for cell in range(max(1, shape[0] // 60), 0, -1):
        letter = np.kron(LETTER_F, np.ones((cell, cell), dtype=bool))
        place = (slice(cell, cell + letter.shape[0]), slice(cell, cell + letter.shape[1]))
        if not inside[place].any():
            mark[place] = letter
            break
    return mark


def as_relief(shown: Shown, relief: Relief, wave: Wave, one: Panel, settings: SlmPattern) -> Relief:
    """What the panel shows as a stepped relief over the pupil, every SLM pixel four or more samples wide.

    Heights lie within one wave, 0 to h₂π; the frame's mirror and offset are taken out.
    """
    samples = 2 * int(np.ceil(2 * relief.width / one.pitch))
    at = ((np.arange(samples) + 0.5) / samples - 0.5) * relief.width
    across = -at if settings.mirrored else at
    columns = np.rint((across + settings.x) / one.pitch + (one.columns - 1) / 2).astype(int)
    rows = np.rint((at + settings.y) / one.pitch + (one.rows - 1) / 2).astype(int)
    columns, rows = np.clip(columns, 0, one.columns - 1), np.clip(rows, 0, one.rows - 1)
    phase = np.mod(shown.phase[np.ix_(rows, columns)], TURN)
    return replace(relief, height=phase * (wave.depth / TURN), pitch=relief.width / samples)


def sidecar(settings: SlmPattern, one: Panel, response: Response) -> dict[str, Any]:
    """What a reader needs to get phases back from the frame."""
    return {
        "slm": one.title,
        "columns": one.columns,
        "rows": one.rows,
        "pitch_m": one.pitch,
        "bits": one.bits,
        "unconfirmed_figures": list(one.unconfirmed),
        "wavelength_m": response.wavelength,
        "columns_run": "-x" if settings.mirrored else "+x",
        "rows_run": "+y",
        "axis_right_of_middle_m": settings.x,
        "axis_below_middle_m": settings.y,
        "phase": "lut.json gives the phase of every grey level; the flatness correction is included in "
        "the frame",
        "flatness": settings.flatness.name if settings.flatness else None,
    }
