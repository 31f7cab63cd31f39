"""What a bench is made of, read from RIG.toml: which camera, which board, where the stage stands.

name = "bench 1"

[camera]
driver = "simulated"

[board]
port = "simulated"

[stage]
origin = 0.352              # depth of the point source with the stage at home, metres from the pupil

[simulation]                # how wrong the hidden build of a simulated bench is, and the light around it
form = 80e-9
stray_irradiance = 2e-4
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import Tolerances

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CameraPart(_Part):
    """The camera: its driver."""

    driver: Literal["simulated"] = "simulated"


class BoardPart(_Part):
    """The board: the one of the simulated bench."""

    port: Literal["simulated"] = "simulated"


class StagePart(_Part):
    """The depth axis: `origin` is the depth of the point source with the stage at home, metres from the pupil."""

    origin: Positive = 0.35


class SimulationPart(Tolerances):
    """The hidden build (see `Tolerances`), the light around it, and how far off axis the source was set by hand."""

    stray_irradiance: float = Field(default=1e-4, ge=0, le=10)
    source_drift: float = Field(default=0.01, ge=0, le=0.5)
    source_offset: float = Field(default=150e-6, ge=0, le=0.05)


class RigSpec(_Part):
    """The contents of RIG.toml."""

    name: str = "simulated bench"
    camera: CameraPart = CameraPart()
    board: BoardPart = BoardPart()
    stage: StagePart = StagePart()
    simulation: SimulationPart = SimulationPart()


def load_rig(source: Path | str) -> RigSpec:
    """Read a RIG.toml; the word ``simulated`` stands for the simulated bench as it comes.

    Raises:
        Refusal: the file is missing, is not TOML, or has an unknown or impossible key (named).
    """
    if str(source) == "simulated":
        return RigSpec()
    path = Path(source)
    try:
        return RigSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        raise Refusal(
            f"the rig file {path} cannot be read", "give a RIG.toml, or the word simulated"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not valid TOML: {error}", "mend the line it names") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        given = f" (given: {first['input']!r})" if first["loc"] else ""
        raise Refusal(f"{path}: {key}: {first['msg']}{given}", "mend this key") from None
