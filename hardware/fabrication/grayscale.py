"""Greyscale laser lithography: the depth of the resist follows the dose, pixel by pixel."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.diffractive import Wrapped, blazed_efficiency
from opticaldr.hardware.fabrication.picture import write_picture, write_tiff
from opticaldr.hardware.fabrication.process import Export, Fraction, Metres, Violation, Wave
from opticaldr.hardware.fabrication.relief import Heights, Relief, stamped


class Grayscale(Wrapped):
    """256 doses; the relief is developed out of the resist (positive) or left standing (negative)."""

    name: ClassVar[str] = "grayscale"
    title: ClassVar[str] = "greyscale laser lithography in resist"

    wrap: bool = Field(True, description="fold the relief at orders x h2pi; otherwise write its full depth")
    resist: Literal["positive", "negative"] = Field(
        "positive", description="whether exposed resist is developed away or stays"
    )
    white: Literal["exposed", "unexposed"] = Field("exposed", description="what grey 255 means to the tool")
    contrast_curve: Path | None = Field(
        None,
        description="measured CSV 'dose,depth_um': depth developed (positive) or left (negative) at doses 0 "
        "to 255; a straight line over the relief's depth if not given",
    )
    pixel: Metres = Field(2e-6, description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(0.1e-6, description="address grid of the writer (m)")
    min_feature: Metres = Field(1.5e-6, description="narrowest zone the spot resolves (m)")
    max_depth: Metres = Field(20e-6, description="usable resist thickness (m)")
    max_slope: float = Field(0.8, gt=0, description="steepest slope of the developed resist")
    blur: float = Field(0.35e-6, ge=0, description="writing spot, standard deviation (m)")
    depth_error: Fraction = Field(0.03, description="relative error of the depth, standard deviation")
    form_error: float = Field(20e-9, ge=0, description="low-order form error, standard deviation (m)")
    contrast_error: Fraction = Field(
        0.03, description="error of the resist's exponent: depth goes as dose to the 1 ± this, std. deviation"
    )

    @property
    def waves(self) -> int | None:
        """Waves of depth at which the relief wraps, if it does."""
        return self.orders if self.wrap else None

    @cached_property
    def curve(self) -> Heights | None:
        """Depth in metres at every dose 0 … 255 of the contrast curve, if one was given."""
        return None if self.contrast_curve is None else read_contrast_curve(self.contrast_curve)

    def full_depth(self, relief: Relief, wave: Wave) -> float:
        """Depth between the highest and the lowest level a perfect resist would have."""
        return self.span(wave) if self.wrap else relief.depth()

    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The relief in the depths that the 256 doses give, unexposed around the aperture."""
        ground = self.gridded(relief).grounded()
        depth = self.full_depth(ground, wave)
        self.checked_depth(replace(ground, height=np.minimum(ground.height, depth)) if self.wrap else ground)
        if self.wrap:
            folded = self.folded(ground, wave, 256)
        else:
            level = np.where(ground.aperture(), np.rint(ground.height / (depth / 255)), 255)
            folded = stamped(replace(ground, height=level * depth / 255), self.view, 0.0)
        if self.curve is None:
            return folded
        available = self.curve - self.curve[0]
        if available[-1] < folded.height.max():
            raise Refusal(
                f"the contrast curve reaches {available[-1] * 1e6:.3f} um, the relief needs "
                f"{folded.height.max() * 1e6:.3f} um",
                "use a thicker resist, a higher dose or fewer orders",
            )
        top = folded.height.max()
        depth_of = available[nearest(available, top - folded.height)]
        return replace(folded, height=top - depth_of)

    def doses(self, drawn: Relief, wave: Wave) -> NDArray[np.uint8]:
        """Dose 0 … 255 of every pixel, as seen from the sensor."""
        top = drawn.height.max()
        cut = top - drawn.height if self.resist == "positive" else drawn.height - drawn.height.min()
        if self.curve is not None:
            return nearest(self.curve - self.curve[0], cut).astype(np.uint8)
        return np.asarray(np.rint(cut / self.dose_step(drawn, wave)), dtype=np.uint8)

    def dose_step(self, drawn: Relief, wave: Wave) -> float:
        """Depth to one dose step without a contrast curve, metres."""
        return self.span(wave) / 256 if self.wrap else float(np.ptp(drawn.height)) / 255

    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """`exposure.bmp` (8-bit doses), `height.tif` and `height.png` (16-bit, linear in height)."""
        seen = np.asarray(self.view.seen(drawn.height))
        doses = np.asarray(self.view.seen(self.doses(drawn, wave)))
        grey = doses if self.white == "exposed" else 255 - doses
        write_picture(folder / "exposure.bmp", grey, drawn.pitch)
        tone = {"resist": self.resist, "white": self.white}
        return [
            Export("exposure.bmp", "8-bit doses for the writer", {**tone, **self._dose_scale(drawn, wave)}),
            *write_heights(seen, drawn.pitch, folder),
        ]

    def _dose_scale(self, drawn: Relief, wave: Wave) -> dict[str, object]:
        """How a BMP value becomes a height: z = offset + scale·value, or a table of z."""
        top, bottom = float(drawn.height.max()), float(drawn.height.min())
        sign = -1 if self.resist == "positive" else 1
        start = top if self.resist == "positive" else bottom
        if self.curve is not None:
            heights = start + sign * (self.curve - self.curve[0])
            return {"z_of_value_m": (heights if self.white == "exposed" else heights[::-1]).tolist()}
        step = sign * self.dose_step(drawn, wave)
        if self.white == "unexposed":
            start, step = start + 255 * step, -step
        return {"z": "offset + scale * value", "z_offset_m": start, "z_scale_m": step}

    def made(self, drawn: Relief, wave: Wave, rng: np.random.Generator | None = None) -> Relief:
        """Written by a round spot; with ``rng`` the resist's exponent is off as well."""
        if rng is not None and self.contrast_error:
            top, depth = drawn.height.max(), float(np.ptp(drawn.height))
            exponent = 1 + self.contrast_error * rng.standard_normal()
            cut = (top - drawn.height) / depth
            drawn = replace(drawn, height=top - depth * cut**exponent)
        return super().made(drawn, wave, rng)

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """Resist and tone, then what every process says."""
        curve = self.contrast_curve.name if self.contrast_curve else "linear (give the fab's own)"
        return [
            ("resist", f"{self.resist}; white is {self.white}"),
            ("contrast curve", curve),
            *super().specification(drawn, wave),
        ]

    def efficiency(self, detuning: float) -> float | None:
        """A continuous blaze, if the relief wraps."""
        return blazed_efficiency(detuning * self.orders, self.orders) if self.wrap else None

    def features(self, relief: Relief, drawn: Relief, wave: Wave) -> list[Violation]:
        """Zones narrower than the spot resolves."""
        return self.zones(relief, wave) if self.wrap else []


def write_heights(seen: Heights, pitch: float, folder: Path) -> list[Export]:
    """`height.tif` and `height.png`: 16 bit, z = offset + scale·value, exact to a 65535th of the depth."""
    offset, depth = float(seen.min()), float(np.ptp(seen))
    value = np.rint((seen - offset) / depth * 65535).astype(np.uint16)
    scale = {"z": "offset + scale * value", "z_offset_m": offset, "z_scale_m": depth / 65535}
    write_tiff(folder / "height.tif", value, pitch, scale)
    write_picture(folder / "height.png", value, pitch)
    return [
        Export("height.tif", "16-bit heights, linear", scale),
        Export("height.png", "16-bit heights, linear", scale),
    ]


def nearest(rising: Heights, wanted: Heights) -> NDArray[np.intp]:
    """Index of the entry of ``rising`` nearest to every value of ``wanted``."""
    middles = (rising[1:] + rising[:-1]) / 2
    return np.searchsorted(middles, wanted)


def read_contrast_curve(path: Path) -> Heights:
    """Depth in metres at doses 0 … 255 from a CSV ``dose,depth_um``, interpolated monotonically.

    Raises:
        Refusal: unreadable, without the heading that states the unit, not from dose 0 to 255, or not rising.
    """
    remedy = "write lines of dose (0 to 255) and depth below the heading 'dose,depth_um', both rising"
    try:
        heading, *lines = path.read_text(encoding="utf-8").split()
        dose, depth = np.array([[float(cell) for cell in line.split(",")] for line in lines]).T
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror})", "check the path") from None
    except ValueError:
        raise Refusal(f"{path} is not a contrast curve", remedy) from None
    if heading != "dose,depth_um":
        raise Refusal(f"{path} does not state dose and unit in its heading", remedy)
    if dose[0] != 0 or dose[-1] != 255 or np.any(np.diff(dose) <= 0):
        raise Refusal(
            f"the doses in {path} run from {dose[0]:g} to {dose[-1]:g}, not from 0 up to 255", remedy
        )
    if np.any(np.diff(depth) <= 0):
        at = int(np.argmax(np.diff(depth) <= 0))
        raise Refusal(f"the depth in {path} does not rise after dose {dose[at]:g}", remedy)
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(dose, depth * 1e-6)(np.arange(256)))
