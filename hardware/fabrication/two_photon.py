"""Two-photon polymerisation: a printed solid or a 16-bit grey map, in stitched fields."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opticaldr.hardware.fabrication.grayscale import write_heights
from opticaldr.hardware.fabrication.picture import write_picture
from opticaldr.hardware.fabrication.process import Export, Fraction, Metres, Wave, marked
from opticaldr.hardware.fabrication.refractive import Plated
from opticaldr.hardware.fabrication.relief import Heights, Relief


class TwoPhoton(Plated):
    """The relief printed layer by layer; each field of the objective is its own print."""

    name: ClassVar[str] = "two-photon"
    title: ClassVar[str] = "two-photon printed relief"

    pixel: Metres = Field(2e-6, description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(0.1e-6, description="hatching distance (m)")
    max_depth: Metres = Field(150e-6, description="deepest relief (m)")
    max_slope: float = Field(1.5, gt=0, description="steepest slope dz/dr")
    blur: float = Field(0.25e-6, ge=0, description="width of the voxel, standard deviation (m)")
    depth_error: Fraction = Field(0.01, description="error of the shrinkage correction, standard deviation")
    form_error: float = Field(50e-9, ge=0, description="low-order form error, standard deviation (m)")
    slice_height: Metres = Field(0.1e-6, description="height of one printed layer (m)")
    field_size: Metres = Field(400e-6, description="side of one field of the objective (m)")
    stitching_error: float = Field(
        30e-9, ge=0, description="height step between fields, standard deviation (m)"
    )
    mark_height: Metres = Field(2e-6, description="height of the orientation mark (m)")

    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The continuous relief with the mark beside it."""
        return marked(self.checked_depth(self.gridded(relief).grounded()), self.view, self.mark_height)

    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """`mask.stl`, `mask.3mf`, 16-bit `height.tif` and `height.png`, and `fields.png` over the heights."""
        seen = np.asarray(self.view.seen(drawn.height))
        exports = self.write_solids(drawn, seen, folder, title, "mask")
        exports += write_heights(seen, drawn.pitch, folder)
        grey = np.rint((seen - seen.min()) / np.ptp(seen) * 255).astype(np.uint8)
        overlay = np.repeat(grey[..., np.newaxis], 3, axis=2)
        field = np.asarray(self.view.seen(self.fields(drawn)))
        seam = np.zeros(field.shape, dtype=bool)
        seam[:, 1:] |= field[:, 1:] != field[:, :-1]
        seam[1:] |= field[1:] != field[:-1]
        overlay[seam] = (255, 80, 0)
        write_picture(folder / "fields.png", overlay, drawn.pitch)
        fields = {"field_size_m": self.field_size, "fields": int(field.max()) + 1}
        return [*exports, Export("fields.png", "stitching fields over the heights, for people", fields)]

    def fields(self, relief: Relief) -> NDArray[np.intp]:
        """Number of the stitching field of every pixel; the middle field is centred on the optical axis."""
        index = np.floor(relief.axis() / self.field_size + 0.5).astype(int)
        index -= index.min()
        return np.asarray(index[:, np.newaxis] * (index.max() + 1) + index)

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """Slices and fields, then what every process says."""
        return [
            ("slice height", f"{self.slice_height * 1e6:.3f} um"),
            (
                "stitching field",
                f"{self.field_size * 1e6:.0f} um, {int(self.fields(drawn).max()) + 1} fields",
            ),
            *super().specification(drawn, wave),
        ]

    def made(self, drawn: Relief, wave: Wave, rng: np.random.Generator | None = None) -> Relief:
        """Sliced and blurred; with ``rng`` every field also stands a little higher or lower."""
        height: Heights = np.rint(drawn.height / self.slice_height) * self.slice_height
        if rng is not None and self.stitching_error:
            field = self.fields(drawn)
            height = height + (self.stitching_error * rng.standard_normal(field.max() + 1))[field]
        return super().made(replace(drawn, height=height), wave, rng)
