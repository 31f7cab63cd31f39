"""Faults that can be planted on the simulated bench, for a person who learns to find them.

[faults]
mask = "mirrored"           # how the plate sits in its mount, or the folder of another design, relative to the rig file
slipped = [60e-6, 0.0]      # metres (x, y) that the plate has moved since it was mounted
leak = 1e-3                 # W/m² on the sensor, past the shutter
shutter = "sticks open"
cover = "open"
source = 1e5                # of its usual brightness
source_place = [0.04, 0.0]  # metres (x, y) off axis
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from opticaldr.artefacts import open_artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import BuildErrors
from opticaldr.hardware.mounting import MISMOUNTED
from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic

AS_DESIGNED = "as designed"
Slip = Annotated[float, Field(ge=-500e-6, le=500e-6)]
Place = Annotated[float, Field(ge=-0.5, le=0.5)]


class Faults(BaseModel):
    """What is wrong with a simulated bench.

    `mask`: `AS_DESIGNED`, one of `MISMOUNTED`, or the folder of another design; `slipped`: metres (x, y) that the plate
    has moved against the stop; `leak`: W/m² on the sensor past the shutter; `shutter` and `cover`: of the housing;
    `source`: brightness as a multiple of the usual; `source_place`: metres (x, y) off axis.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: Annotated[str, Field(min_length=1)] = AS_DESIGNED
    slipped: tuple[Slip, Slip] = (0.0, 0.0)
    leak: float = Field(default=0.0, ge=0, le=10)
    shutter: Literal["works", "sticks open", "sticks closed"] = "works"
    cover: Literal["closed", "open"] = "closed"
    source: float = Field(default=1.0, ge=0, le=1e6)
    source_place: tuple[Place, Place] = (0.0, 0.0)

    def beside(self, folder: Path) -> Faults:
        """The same faults, with a mask's folder read relative to `folder`."""
        if self.mask in (AS_DESIGNED, *MISMOUNTED):
            return self
        return self.model_copy(update={"mask": str(folder / self.mask)})

    def mounted(self, design: Optic) -> Optic:
        """The optic that somebody put on the bench instead of `design`.

        Raises:
            Refusal: `mask` names neither a way to mount it wrong nor a design that fits the bench.
        """
        if self.mask == AS_DESIGNED:
            return design
        if self.mask in MISMOUNTED:
            return Optic(design.spec, np.ascontiguousarray(MISMOUNTED[self.mask](design.height)))
        if not Path(self.mask).exists():
            raise Refusal(
                f"faults.mask: there is no {self.mask}",
                f"choose one of {', '.join(MISMOUNTED)}, or the folder of a design",
            )
        other = Optic.read(open_artefact(Path(self.mask), kind="design").path)
        if other.height.shape != design.height.shape or other.spec.pupil != design.spec.pupil:
            raise Refusal(
                f"faults.mask: the mask of {self.mask} does not fit into this design's mount",
                "name a design of the same optics",
            )
        return Optic(design.spec, other.height)

    def built(self, errors: BuildErrors) -> BuildErrors:
        """The errors of the build, with the plate slipped."""
        (x, y), (right, down) = errors.decentre, self.slipped
        return replace(errors, decentre=(x + right, y + down))

    def plant(self, world: World) -> None:
        """Put everything but the mask into a world."""
        world.leak_irradiance += self.leak
        world.source_full_intensity *= self.source
        (x, y), (right, down) = world.source_offset, self.source_place
        world.source_offset = x + right, y + down
        if self.shutter == "sticks open":
            world.jam(opening=1.0)
        elif self.shutter == "sticks closed":
            world.jam(opening=0.0)
        world.cover_closed = self.cover == "closed"
