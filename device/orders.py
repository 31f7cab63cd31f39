"""What voice tells eye at its start, and what eye's exit code tells voice at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

OK, REFUSED, TRIPPED, LOST = 0, 1, 3, 4
"""Exit codes of eye: ended as told, could not start, interlock closed, camera or board gone."""


class Orders(BaseModel):
    """What voice tells eye once, at its start; there is no way to tell it anything later.

    Attributes:
        bundle: folder of the bundle, verified by voice and again by eye.
        key: the public key that must have signed it, 64 hex digits.
        pipe: descriptor to write records to; voice fills it in.
        session: 32 hex digits that every record carries; voice fills them in.
        rig: "simulated", or the path of a RIG.toml.
        source: scene before the simulated camera (see `opticaldr.device.rig`).
        frames: stop after so many; None for no limit.
        interval: least seconds between estimates in the long run.
        unmask_at: frame before which the simulated rig takes its mask off.
        seed: of everything random in the simulated rig.
        threads: of the model.
        wait: for camera and board, if they are not there yet.
        development: go on although a protection does not hold; every record says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    pipe: Annotated[int, Field(ge=3)] = 3
    session: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = "0" * 32
    rig: str = "simulated"
    source: str = "simulated:0"
    frames: Annotated[int, Field(gt=0)] | None = None
    interval: Annotated[float, Field(ge=1)] = 60.0
    unmask_at: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    threads: Annotated[int, Field(ge=1)] = 1
    wait: bool = False
    development: bool = False
