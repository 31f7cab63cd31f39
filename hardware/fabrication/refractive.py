"""Refractive plate: diamond turning or precision milling of the whole sag, files as solid and as sag."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication import sag, solid
from opticaldr.hardware.fabrication.process import Export, Fraction, Metres, Process, Violation, Wave, marked
from opticaldr.hardware.fabrication.relief import Heights, Relief

Shape = Literal["round", "square"]


class Plated(Process):
    """A process whose relief stands on a plate of given outline and thickness."""

    base: Metres = Field(1e-3, description="thickness of the plate below the relief's lowest point (m)")
    shape: Shape = Field("round", description="shape of the plate")
    size: Metres | None = Field(
        None,
        description="diameter or side of the plate (m); the relief's grid and 1 mm all round if not given",
    )
    stl_unit: Literal["mm", "um"] = Field("mm", description="unit of the STL's numbers, which carries none")
    tolerance: float = Field(
        0.0, ge=0, description="rows and columns are left out while facets stay within this (m); 0 keeps all"
    )

    def plate_size(self, relief: Relief) -> float:
        """Diameter or side of the plate; `Refusal` if the relief's grid does not fit on it."""
        needed = relief.width * (np.sqrt(2) if self.shape == "round" else 1.0)
        size = self.size or needed + 2e-3
        if size < needed:
            raise Refusal(
                f"a {self.shape} plate of {size * 1e3:.3f} mm does not hold the relief and its mark",
                f"set size to at least {needed * 1e3:.3f} mm",
            )
        return size

    def outline(self, drawn: Relief) -> tuple[str, float]:
        """The plate's."""
        return self.shape, self.plate_size(drawn)

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """Thickness of the plate, then what every process says."""
        return [
            ("thickness below the relief", f"{self.base * 1e3:.4f} mm"),
            *super().specification(drawn, wave),
        ]

    def write_solids(self, drawn: Relief, seen: Heights, folder: Path, title: str, stem: str) -> list[Export]:
        """STL and 3MF of ``seen`` (heights as this process's view shows them) on the plate."""
        inside = self.view.seen(drawn.aperture())
        kept, deviation = solid.kept_within(seen, np.asarray(inside), self.tolerance)
        size = self.plate_size(drawn)

        def plate(unit: Literal["mm", "um"]) -> solid.Plate:
            return solid.Plate.around(
                seen, drawn.pitch, base=self.base, outline=self.shape, size=size, unit=unit, kept=kept
            )

        body = plate(self.stl_unit)
        solid.write_stl(folder / f"{stem}.stl", body, f"unit={self.stl_unit} {title}")
        solid.write_3mf(folder / f"{stem}.3mf", plate("mm"), title)
        details: dict[str, Any] = {
            "frame": "X right, Y up, Z out of the material, looking at the relief; flat back at Z = 0",
            "z_of_zero_height_m": self.base,
            "outline": self.shape,
            "size_m": size,
            "triangles": body.triangles,
            "facet_deviation_m": deviation,
        }
        return [
            Export(f"{stem}.stl", "solid, binary STL", {"unit": self.stl_unit, **details}),
            Export(f"{stem}.3mf", "solid, 3MF", {"unit": "mm", **details}),
        ]


class Refractive(Plated):
    """The relief as it is, cut by a diamond tool."""

    name: ClassVar[str] = "refractive"
    title: ClassVar[str] = "diamond-turned refractive plate"

    pixel: Metres = Field(5e-6, description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(1e-6, description="smallest spacing of points the machine takes (m)")
    max_depth: Metres = Field(500e-6, description="deepest relief (m)")
    max_slope: float = Field(0.7, gt=0, description="steepest slope dz/dr that the tool's clearance allows")
    blur: float = Field(0.0, ge=0, description="lateral blur of the made relief, standard deviation (m)")
    depth_error: Fraction = Field(0.0, description="relative error of the depth, standard deviation")
    form_error: float = Field(100e-9, ge=0, description="low-order form error, standard deviation (m)")
    tool_radius: Metres = Field(0.2e-3, description="nose radius of the tool; hollows must be wider (m)")
    mark_height: Metres = Field(5e-6, description="height of the orientation mark (m)")

    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The continuous relief with the mark beside it."""
        return marked(self.checked_depth(self.gridded(relief).grounded()), self.view, self.mark_height)

    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """`mask.stl`, `mask.3mf`, `mask.dat` (OpticStudio grid sag) and `mask.xyz`."""
        seen = np.asarray(self.view.seen(drawn.height))
        exports = self.write_solids(drawn, seen, folder, title, "mask")
        sag.write_grid_sag(folder / "mask.dat", drawn.height, drawn.pitch, self.relief_faces)
        sag.write_xyz(folder / "mask.xyz", seen, drawn.pitch, title)
        return [
            *exports,
            Export(
                "mask.dat",
                "grid sag for OpticStudio",
                {
                    "unit": "mm",
                    "frame": "X right and Y up seen from the sensor, Z along the light; rows from -X, +Y",
                    "z_offset_m": 0.0,
                    "z_scale": -1e-3 if self.relief_faces == "scene" else 1e-3,
                },
            ),
            Export(
                "mask.xyz",
                "points for diamond turning",
                {"unit": "mm", "frame": "X right, Y up, Z out of the material, looking at the relief"},
            ),
        ]

    def features(self, relief: Relief, drawn: Relief, wave: Wave) -> list[Violation]:
        """Hollows tighter than the tool's nose: ∂²z/∂r² above 1/radius in the tighter direction."""
        from opticaldr.hardware.fabrication.rules import interior, regions

        down, right = np.gradient(relief.height, relief.pitch)
        curvature = np.maximum(
            np.gradient(down, relief.pitch, axis=0), np.gradient(right, relief.pitch, axis=1)
        )
        tight = interior(relief) & (curvature > 1 / self.tool_radius)
        radius = 1 / np.maximum(curvature, 1e-9)
        return regions(
            "tool radius", tight, radius, self.tool_radius, "m", relief, self.view, worst="smallest"
        )
