"""What a bench is made of, read from RIG.toml: which camera, which board, where the stage stands.

name = "bench 1"

[camera]
driver = "picamera2"        # simulated, picamera2, opencv or replay; each has its own keys, see the classes below

[board]
port = "/dev/ttyACM0"       # a pyserial URL, or the word simulated

[stage]
origin = 0.352              # depth of the point source with the stage at home, metres from the pupil

[chart]                     # the monitor that shows the noise chart
distance = 0.6              # from the pupil, metres

[tolerances]                # what workshop and assembler quote for the build: standard deviations
form = 80e-9
decentre = 25e-6

[simulation]                # how wrong the hidden build of a simulated bench is, and the light around it
form = 80e-9
stray_irradiance = 2e-4

[faults]                    # planted on a simulated bench, to be found; see `Faults`
mask = "mirrored"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import UNQUOTED, Tolerances
from opticaldr.hardware.cameras import Camera, ReplayCamera, SimulatedCamera
from opticaldr.hardware.chart import Display
from opticaldr.hardware.faults import Faults
from opticaldr.hardware.world import World
from opticaldr.models.optics import SensorSpec

SIMULATED = "simulated"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatedPart(_Part):
    """The camera of the simulated world."""

    driver: Literal["simulated"] = "simulated"


class ReplayPart(_Part):
    """Frames from disk: a recording, a video or a folder of pictures, relative to the rig file."""

    driver: Literal["replay"]
    source: Path


class OpenCVPart(_Part):
    """A UVC camera; see `OpenCVCamera`. `mode` is rows and columns, `format` a four-character code (``RG10``)."""

    driver: Literal["opencv"]
    device: str = "/dev/video0"
    format: Annotated[str, Field(pattern=r"^[\x20-\x7e]{2,4}$")] | None = None
    mode: tuple[Side, Side] | None = None
    black_level: Annotated[int, Field(ge=0, le=65535)] = 0
    unity_gain: Positive = 1.0


class Picamera2Part(_Part):
    """A Raspberry Pi camera; see `Picamera2Camera`. `mode` is rows and columns."""

    driver: Literal["picamera2"]
    number: Annotated[int, Field(ge=0)] = 0
    mode: tuple[Side, Side] | None = None
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    tuning: str | None = None


CameraPart = Annotated[SimulatedPart | ReplayPart | OpenCVPart | Picamera2Part, Field(discriminator="driver")]
DRIVERS = ("simulated", "replay", "opencv", "picamera2")


class BoardPart(_Part):
    """The board: a pyserial URL, or the word ``simulated``. A simulated board moves and lights nothing real."""

    port: Annotated[str, Field(min_length=1)] = SIMULATED


class StagePart(_Part):
    """The depth axis: `origin` is the depth of the point source with the stage at home, metres from the pupil."""

    origin: Positive = 0.35


class TolerancesPart(Tolerances):
    """What to expect of the build (see `Tolerances`); the fit falls back on it where the light says nothing."""

    form: float = Field(default=UNQUOTED.form, gt=0, le=2e-6)
    decentre: float = Field(default=UNQUOTED.decentre, gt=0, le=500e-6)
    rotation: float = Field(default=UNQUOTED.rotation, gt=0, le=0.2)
    spacing: float = Field(default=UNQUOTED.spacing, gt=0, le=500e-6)
    aperture: float = Field(default=UNQUOTED.aperture, gt=0, le=0.05)
    source: float = Field(default=UNQUOTED.source, gt=0, le=50e-6)


class SimulationPart(Tolerances):
    """The hidden build (see `Tolerances`), the light around it, and how far off axis the source was set by hand."""

    stray_irradiance: float = Field(default=1e-4, ge=0, le=10)
    source_drift: float = Field(default=0.01, ge=0, le=0.5)
    source_offset: float = Field(default=150e-6, ge=0, le=0.05)


class RigSpec(_Part):
    """The contents of RIG.toml."""

    name: str = "simulated bench"
    camera: CameraPart = SimulatedPart()
    board: BoardPart = BoardPart()
    stage: StagePart = StagePart()
    chart: Display = Display()
    tolerances: TolerancesPart = TolerancesPart()
    simulation: SimulationPart = SimulationPart()
    faults: Faults = Faults()

    @model_validator(mode="after")
    def _only_simulated_faults(self) -> Self:
        if self.faults != Faults() and not isinstance(self.camera, SimulatedPart):
            raise ValueError("faults can be planted beside a simulated camera only; take [faults] out")
        return self


def load_rig(source: Path | str) -> RigSpec:
    """Read a RIG.toml; the word ``simulated`` stands for the simulated bench as it comes.

    Raises:
        Refusal: the file is missing, is not TOML, or has an unknown or impossible key (named).
    """
    if str(source) == SIMULATED:
        return RigSpec()
    path = Path(source)
    try:
        spec = RigSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        raise Refusal(
            f"the rig file {path} cannot be read", "give a RIG.toml, or the word simulated"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not valid TOML: {error}", "mend the line it names") from None
    except ValidationError as error:
        raise Refusal(f"{path}: {_first(error)}", "mend this key") from None
    spec = spec.model_copy(update={"faults": spec.faults.beside(path.parent)})
    if isinstance(spec.camera, ReplayPart):
        camera = spec.camera.model_copy(update={"source": path.parent / spec.camera.source})
        spec = spec.model_copy(update={"camera": camera})
    return spec


def camera_named(name: str) -> CameraPart:
    """The camera that a word on the command line names.

    Args:
        name: ``simulated``, ``picamera2`` or ``picamera2:NUMBER``, ``opencv`` or ``opencv:/dev/videoN``, a RIG.toml,
            or a recording, video or folder of pictures.

    Raises:
        Refusal: it is none of these.
    """
    driver, _, which = name.partition(":")
    if driver == "picamera2" and (which.isdecimal() or not which):
        return Picamera2Part(driver="picamera2", number=int(which or 0))
    if driver == "opencv":
        return OpenCVPart(driver="opencv", device=which or "/dev/video0")
    if name == SIMULATED or name.endswith(".toml"):
        return load_rig(name).camera
    if Path(name).exists():
        return ReplayPart(driver="replay", source=Path(name))
    raise Refusal(
        f"there is no camera {name}",
        "give simulated, picamera2, opencv:/dev/videoN, a RIG.toml, or a recording; opticaldr camera find lists some",
    )


def camera_of(
    part: CameraPart, *, world: World | None = None, sensor: SensorSpec | None = None, seed: int = 0
) -> Camera:
    """The camera that a rig names, not yet open.

    Args:
        part: the rig's ``[camera]``.
        world: what a simulated camera looks at; needed for that one alone.
        sensor: what the optics were designed for: its central region and depth are asked for. None for whole frames.
        seed: of a simulated camera.
    """
    region = None if sensor is None else sensor.shape
    if isinstance(part, SimulatedPart):
        assert world is not None, "a simulated camera needs a world"
        return SimulatedCamera(world, seed=seed)
    if isinstance(part, ReplayPart):
        return ReplayCamera(part.source)
    if isinstance(part, OpenCVPart):
        from opticaldr.hardware.cameras.opencv import OpenCVCamera

        return OpenCVCamera(
            part.device,
            pixel_format=None if part.format is None else part.format.ljust(4),
            mode=part.mode,
            region=region,
            black_level=part.black_level,
            unity_gain=part.unity_gain,
        )
    from opticaldr.hardware.cameras.picamera2 import Picamera2Camera

    bits = part.bits or (None if sensor is None else sensor.bits)
    return Picamera2Camera(part.number, mode=part.mode, bits=bits, region=region, tuning=part.tuning)


def _first(error: ValidationError) -> str:
    """The first mistake: its key as it stands in the file, what is wrong, and what was given."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part not in DRIVERS) or "the whole"
    if first["type"].startswith("union_tag"):
        return f"{key}.driver: choose one of {', '.join(DRIVERS)} (given: {first['input'].get('driver')!r})"
    given = f" (given: {first['input']!r})" if first["loc"] else ""
    return f"{key}: {first['msg']}{given}"
