"""Replication: the mould of the relief, inverted, mirrored, and larger by what the resin shrinks."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from opticaldr.hardware.fabrication.process import Export, Fraction, Metres, Wave, marked
from opticaldr.hardware.fabrication.refractive import Plated
from opticaldr.hardware.fabrication.relief import Relief


class Replica(Plated):
    """UV-cast or embossed copies; the files describe the mould, looking at the mould's relief."""

    name: ClassVar[str] = "replica"
    title: ClassVar[str] = "mould for cast or embossed replicas"

    shrinkage: Fraction = Field(0.015, description="linear shrinkage of the resin, made up for in the mould")
    pixel: Metres = Field(5e-6, description="largest pixel the relief is drawn with (m)")
    min_pixel: Metres = Field(0.5e-6, description="smallest spacing of points of the mould's machine (m)")
    max_depth: Metres = Field(300e-6, description="deepest relief that still demoulds (m)")
    max_slope: float = Field(0.7, gt=0, description="steepest slope dz/dr that still demoulds")
    blur: float = Field(0.2e-6, ge=0, description="rounding of edges, standard deviation (m)")
    depth_error: Fraction = Field(0.003, description="spread of the shrinkage, standard deviation")
    form_error: float = Field(150e-9, ge=0, description="low-order form error, standard deviation (m)")
    mark_height: Metres = Field(5e-6, description="height of the orientation mark (m)")

    def drawn(self, relief: Relief, wave: Wave) -> Relief:
        """The part (not the mould): the continuous relief with the mark beside it."""
        return marked(self.checked_depth(self.gridded(relief).grounded()), self.view, self.mark_height)

    def mould(self, drawn: Relief) -> Relief:
        """The mould as seen looking at it: left and right swapped, high and low swapped, grown."""
        growth = 1 / (1 - self.shrinkage)
        seen = np.asarray(self.view.seen(drawn.height))[:, ::-1]
        return replace(
            drawn,
            height=np.ascontiguousarray((drawn.height.max() - seen) * growth),
            pitch=drawn.pitch * growth,
            radius=drawn.radius * growth,
        )

    def specification(self, drawn: Relief, wave: Wave) -> list[tuple[str, str]]:
        """Shrinkage, then what every process says (of the part)."""
        grown = f"{100 * self.shrinkage:.2f} %, mould larger by {1 / (1 - self.shrinkage):.6f}"
        return [("shrinkage", grown), *super().specification(drawn, wave)]

    def write(self, drawn: Relief, wave: Wave, folder: Path, title: str) -> list[Export]:
        """`mould.stl` and `mould.3mf`."""
        mould = self.mould(drawn)
        exports = self.write_solids(mould, mould.height, folder, f"MOULD {title}", "mould")
        meaning = {
            "is": "the mould; the part is its mirror image with heights inverted",
            "shrinkage": self.shrinkage,
            "grown_by": 1 / (1 - self.shrinkage),
            "part_top_m": float(drawn.height.max()),
            "mould_pitch_m": mould.pitch,
        }
        return [replace(export, details={**export.details, **meaning}) for export in exports]
