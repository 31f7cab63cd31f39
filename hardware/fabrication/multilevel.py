"""Multilevel diffractive relief: binary masks and as many etch steps, as GDSII and OASIS."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opticaldr.hardware.fabrication import layout
from opticaldr.hardware.fabrication.diffractive import Wrapped, stepped_efficiency
from opticaldr.hardware.fabrication.process import Export, Fraction, Metres, Violation, Wave, blurred
from opticaldr.hardware.fabrication.relief import Relief, View


class Multilevel(Wrapped):
    """N levels from ⌈log₂ N⌉ binary masks; mask k is etched 2ᵏ⁻¹ steps of span/N deep."""

    name: ClassVar[str] = "multilevel"
    title: ClassVar[str] = "multilevel diffractive plate, etched through binary masks"

    levels: int = Field(8, ge=2, le=32, description="height levels")
    mirror: bool = Field(False, description="mirror the masks: chrome down, or exposed through the back")
    polygons: Literal["etched", "kept"] = Field("etched", description="what a polygon stands for")
    pixel: Metres = Field(2e-6, description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(0.2e-6, description="address grid of the mask writer (m)")
    min_feature: Metres = Field(1e-6, description="narrowest line the process resolves (m)")
    max_depth: Metres = Field(10e-6, description="deepest etch (m)")
    max_slope: float = Field(1.0, gt=0, description="steepest slope of the unwrapped relief")
    max_aspect: float = Field(3.0, gt=0, description="deepest etch over the width of its line")
    blur: float = Field(0.1e-6, ge=0, description="rounding of etched edges, standard deviation (m)")
    depth_error: Fraction = Field(0.02, description="relative error of each etch, standard deviation")
    form_error: float = Field(0.0, ge=0, description="low-order form error, standard deviation (m)")
    overlay_error: float = Field(
        0.25e-6, ge=0, description="misalignment of each further mask in x and in y, standard deviation (m)"
    )
    mark_size: Metres = Field(100e-6, description="side of the alignment marks (m)")

    @property
    def masks(self) -> int:
        """Binary masks needed."""
        return int(np.ceil(np.log2(self.levels)))

    @property
    def view(self) -> View:
        """Looking at the relief, or mirrored if asked."""
        return View(self.relief_faces, self.mirror)

    def etch_depths(self, wave: Wave) -> list[float]:
        """Depth of every mask's etch, metres; with N = 2ᴹ levels these are span/2ᴹ … span/2."""
        return [self.span(wave) / self.levels * 2**bit for bit in range(self.masks)]

    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The relief folded into the levels, unetched around the aperture."""
        return self.checked_depth(self.folded(self.gridded(relief).grounded(), wave, self.levels))

    def etched(self, drawn: Relief, wave: Wave) -> NDArray[np.uint8]:
        """Etch steps below the uncut surface at every pixel, as seen from the sensor."""
        steps = np.rint(drawn.height / (self.span(wave) / self.levels))
        return (self.levels - 1 - steps).astype(np.uint8)

    def mark_distance(self, drawn: Relief) -> float:
        """From the optical axis to the middle of the alignment marks, left and right, metres."""
        return drawn.width / 2 + 2 * self.mark_size

    def layers(self, drawn: Relief, wave: Wave) -> Iterator[layout.Layer]:
        """One layer a mask: the relief's rectangles, then the alignment marks on both sides of it."""
        steps = self.view.seen(self.etched(drawn, wave))
        away = self.mark_distance(drawn)
        marks = [
            layout.alignment_marks(self.masks, x, -drawn.width / 2, self.mark_size) for x in (-away, away)
        ]
        for bit, depth in enumerate(self.etch_depths(wave)):
            plane = (steps >> bit & 1).astype(bool)
            cells = layout.rectangles(plane if self.polygons == "etched" else ~plane)
            placed = layout.placed(cells, plane.shape, drawn.pitch)
            yield layout.Layer(
                bit + 1,
                f"mask {bit + 1}: etch {depth * 1e9:.1f} nm where {self.polygons}",
                np.concatenate([placed, *(side[bit] for side in marks)]),
            )

    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """`mask.gds` and `mask.oas`, the same layout."""
        count = layout.write_gds(folder / "mask.gds", self.layers(drawn, wave), "MASK")
        layout.write_oasis(folder / "mask.oas", folder / "mask.gds")
        details = {
            "database_unit_m": layout.NANOMETRE,
            "frame": "X right, Y up, looking at the relief" + (", mirrored" if self.mirror else ""),
            "polygons_are": self.polygons,
            "rectangles": count,
            "levels": self.levels,
            "layers": {
                str(bit + 1): {"etch_depth_m": depth, "etch_steps": 2**bit}
                for bit, depth in enumerate(self.etch_depths(wave))
            },
            "z": "height_m = -sum over layers of etch_depth_m where etched",
        }
        return [
            Export("mask.gds", "layout, GDSII", details),
            Export("mask.oas", "layout, OASIS", details),
        ]

    def made(self, drawn: Relief, wave: Wave, rng: np.random.Generator | None = None) -> Relief:
        """Etched mask by mask; with ``rng`` every mask is misplaced and every etch off by its own error."""
        if rng is None:
            return super().made(drawn, wave)
        from scipy.ndimage import shift

        steps = self.etched(drawn, wave)
        height = np.full(drawn.height.shape, float(drawn.height.max()))
        for bit, depth in enumerate(self.etch_depths(wave)):
            plane = (steps >> bit & 1).astype(np.float64)
            if bit and self.overlay_error:
                offset = rng.standard_normal(2) * self.overlay_error / drawn.pitch
                plane = shift(plane, offset, order=1, mode="nearest")
            height -= plane * depth * (1 + self.depth_error * rng.standard_normal())
        return replace(drawn, height=blurred(height, self.blur / drawn.pitch))

    def outline(self, drawn: Relief) -> tuple[str, float]:
        """The field of the masks, alignment marks included."""
        return "square", drawn.width + 5 * self.mark_size

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """Levels, every etch, overlay, then what every process says."""
        return [
            ("levels", f"{self.levels}, {self.masks} binary masks, polygons are {self.polygons}"),
            *(
                (f"layer {bit + 1}", f"etch {depth * 1e9:.1f} nm")
                for bit, depth in enumerate(self.etch_depths(wave))
            ),
            (
                "alignment marks",
                f"{self.mark_size * 1e6:.0f} um at X = ±{self.mark_distance(drawn) * 1e3:.4f} mm, "
                f"from Y = {-drawn.width * 500:.4f} mm upwards",
            ),
            ("overlay tolerance (2 sigma)", f"{2e6 * self.overlay_error:.2f} um"),
            *super().specification(drawn, wave),
        ]

    def efficiency(self, detuning: float) -> float:
        """Closed form for this number of levels."""
        return stepped_efficiency(self.levels, detuning * self.orders, self.orders)

    def features(self, relief: Relief, drawn: Relief, wave: Wave) -> list[Violation]:
        """Lines and gaps of every mask narrower than the process resolves, or than their depth allows."""
        from opticaldr.hardware.fabrication.rules import narrow, regions

        found: list[Violation] = []
        steps = self.etched(drawn, wave)
        aperture = drawn.aperture()
        for bit, depth in enumerate(self.etch_depths(wave)):
            plane = (steps >> bit & 1).astype(bool)
            for rule, limit in (
                ("minimum feature", self.min_feature),
                ("aspect ratio", depth / self.max_aspect),
            ):
                width = np.full(drawn.height.shape, np.inf)
                for pixels in range(int(np.ceil(limit / drawn.pitch - 1e-9)), 1, -1):
                    width[narrow(plane, pixels) | narrow(~plane, pixels)] = (pixels - 1) * drawn.pitch
                bad = aperture & np.isfinite(width)
                found += regions(
                    f"{rule}, mask {bit + 1}", bad, width, limit, "m", drawn, self.view, worst="smallest"
                )
        return found
