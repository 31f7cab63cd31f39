"""``opticaldr camera find|info|snap``: the camera on the bench. What it saves is what the lens images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opticaldr.cli.options import Json

if TYPE_CHECKING:
    from opticaldr.hardware.cameras import Camera

camera = typer.Typer(
    no_args_is_help=True,
    help="Find, ask and try the camera on a bench. A bench tool: `snap` saves raw frames, which `run` never does.",
)

Name = Annotated[
    str,
    typer.Option(
        "--camera",
        envvar="OPTICALDR_CAMERA",
        help="simulated, picamera2[:N], opencv[:/dev/videoN], a RIG.toml, or a recording, video or pictures.",
    ),
]
Exposure = Annotated[float, typer.Option(min=1e-6, help="Seconds.")]
Gain = Annotated[float, typer.Option(min=0.1, help="Analogue gain; 1 is the sensor's lowest.")]


def named(name: str) -> Camera:
    """The camera that ``--camera`` names, not yet opened; a simulated one looks at a point of light without a mask."""
    import numpy as np

    from opticaldr.hardware.rig import camera_named, camera_of
    from opticaldr.hardware.world import World
    from opticaldr.models.optics import Optic, preset

    spec = preset("clinic")
    bare = Optic(spec, np.zeros((spec.pupil.samples, spec.pupil.samples)))
    world = World(optic=bare, source_drive=0.002, shutter_command=True)
    world.advance(1.0)
    return camera_of(camera_named(name), world=world)


@camera.command()
def find(as_json: Json = False) -> None:
    """List the cameras of this machine.

    Exit code 1 when there is none that can be opened.
    """
    from dataclasses import asdict

    from opticaldr.cli.console import tell
    from opticaldr.hardware.cameras.finding import find as find_cameras

    found = find_cameras()
    if as_json:
        tell({"cameras": [asdict(each) for each in found]}, as_json=True)
    for each in [] if as_json else found:
        typer.echo(f"{each.name}  {each.problem or each.description}")
    if not any(not each.problem for each in found):
        if not as_json:
            typer.echo("no camera found; plug one in (docs/deploy.md), or try --camera simulated", err=True)
        raise typer.Exit(1)


@camera.command()
def info(
    name: Name = "simulated", exposure: Exposure = 0.01, gain: Gain = 1.0, as_json: Json = False
) -> None:
    """Open the camera, take one frame, and say what came.

    Shape, depth, levels, and the settings read back.
    """
    from dataclasses import asdict

    import numpy as np

    from opticaldr.cli.console import tell

    with named(name) as there:
        there.configure(exposure=exposure, gain=gain)
        frame = there.capture()
        said = {
            **asdict(there.info),
            "exposure": frame.exposure,
            "gain": frame.gain,
            "frame_black_level": frame.black_level,
            "temperature": None if np.isnan(frame.temperature) else frame.temperature,
            "lowest": int(frame.raw.min()),
            "median": float(np.median(frame.raw)),
            "highest": int(frame.raw.max()),
        }
    tell(said, as_json=as_json)


@camera.command()
def snap(
    out: Annotated[Path, typer.Option("--out", help="Folder to make: a recording.")],
    name: Name = "simulated",
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="Frames to take.")] = 1,
    exposure: Exposure = 0.01,
    gain: Gain = 1.0,
    as_json: Json = False,
) -> None:
    """Record raw frames to a folder, from which to replay them.

    `--camera FOLDER` replays them value for value. For benches, with nobody in view: the frames are what the
    lens images. The deployed camera keeps none.
    """
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.hardware.cameras.recording import record

    with named(name) as there:
        there.configure(exposure=exposure, gain=gain)
        with progress_bar() as progress:
            recording = record(there, out, count, progress=progress)
    typer.echo(
        "bench recording: these frames are what the lens images; delete them if anybody is in view", err=True
    )
    taken_by, first = recording.camera, recording.frames[0]
    tell(
        {
            "recording": str(out),
            "camera": taken_by.name,
            "frames": len(recording.frames),
            "shape": taken_by.shape,
            "bits": taken_by.bits,
            "raw": taken_by.linear,
            "exposure": first.exposure,
            "gain": first.gain,
        },
        as_json=as_json,
    )
