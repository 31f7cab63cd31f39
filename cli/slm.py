"""``opticaldr slm monitors|measure|show``: the spatial light modulator on the bench."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opticaldr.cli.options import Json, Out, Seed

if TYPE_CHECKING:
    from opticaldr.calibration.slm_response import Bench
    from opticaldr.hardware.slms import Panel

slm = typer.Typer(no_args_is_help=True, help="Measure a spatial light modulator, and show patterns on it.")

SIMULATED = "simulated"

PanelName = Annotated[
    str, typer.Option("--slm", help="Preset of hardware/slms/presets.toml, or a TOML file like it.")
]


@slm.command("monitors")
def list_monitors(as_json: Json = False) -> None:
    """List the monitors that this machine drives.

    One of them may be the SLM.
    """
    from opticaldr.cli.console import tell
    from opticaldr.hardware.slms import monitors

    found = [
        {"monitor": number, "name": name, "columns": width, "rows": height}
        for number, (name, (width, height)) in enumerate(monitors())
    ]
    if as_json:
        tell({"monitors": found}, as_json=True)
        return
    for each in found:
        typer.echo(f"{each['monitor']}  {each['name'] or 'unnamed'}  {each['columns']} x {each['rows']}")


@slm.command()
def measure(
    name: PanelName = "generic",
    monitor: Annotated[
        str, typer.Option("--monitor", help="Number or name of the SLM's monitor, or the word simulated.")
    ] = SIMULATED,
    camera: Annotated[
        str, typer.Option("--camera", help="As for opticaldr camera; its sensor lies in the lens's focus.")
    ] = SIMULATED,
    wavelength: Annotated[
        list[float] | None,
        typer.Option("--wavelength", help="Of a laser, in nanometres; once for each.", show_default="532"),
    ] = None,
    serial: Annotated[str, typer.Option(help="Serial number of the panel, for the record.")] = "",
    falling: Annotated[bool, typer.Option("--falling", help="Brighter levels retard less.")] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure grey to phase and flatness.

    Exit code 1 means that a gate failed. The bench: laser, polariser along the panel's director, panel, lens,
    camera in the lens's focus.
    """
    from opticaldr.calibration.slm import characterise_slm
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.errors import Refusal
    from opticaldr.hardware.slms import panel

    if (monitor == SIMULATED) != (camera == SIMULATED):
        raise Refusal(
            "panel and camera must both be simulated or both be real", "name --monitor and --camera"
        )
    one = panel(name)
    lasers = [length * 1e-9 for length in wavelength or [532.0]]
    for length in lasers:
        if not 200e-9 < length < 3e-6:
            raise typer.BadParameter("nanometres, 200 to 3000", param_hint="--wavelength")

    def bench(length: float) -> AbstractContextManager[Bench]:
        return _simulated(one, length, seed) if monitor == SIMULATED else _real(one, length, monitor, camera)

    with progress_bar() as progress:
        made = characterise_slm(
            bench, lasers, out, serial=serial, polarity=-1 if falling else 1, seed=seed, progress=progress
        )
    found = made.json("response.json")
    result = {"response": made.path, "id": made.id, "report": made.path / "report.html"}
    for entry in found:
        nm = f"{entry['wavelength_m'] * 1e9:.0f}nm"
        result[f"lut {nm}"] = made.path / f"lut-{nm}.csv"
        result[f"flatness {nm}"] = made.path / f"flatness-{nm}.npy"
    passed = all(entry["passed"] for entry in found)
    tell({**result, "passed": passed}, as_json=as_json)
    if not passed:
        raise typer.Exit(1)


@slm.command()
def show(
    pattern: Annotated[Path, typer.Argument(help="Folder of a pattern.")],
    monitor: Annotated[str, typer.Option("--monitor", help="Number or name of the SLM's monitor.")],
) -> None:
    """Show a pattern, pixel for pixel, until Enter is pressed."""
    import numpy as np
    from PIL import Image

    from opticaldr.artefacts import open_artefact
    from opticaldr.hardware.slms import WindowDisplay, panel

    shown = open_artefact(pattern, kind="pattern")
    frame = np.asarray(Image.open(shown.file("frame.png")), dtype=np.uint16)
    with WindowDisplay(panel(shown.json("process.json")["settings"]["slm"]), monitor) as display:
        display.show(frame)
        typer.echo("shown; press Enter to end", err=True)
        typer.get_text_stream("stdin").readline()


@contextmanager
def _simulated(one: Panel, wavelength: float, seed: int) -> Iterator[Bench]:
    import numpy as np

    from opticaldr.calibration.slm_response import Bench
    from opticaldr.hardware.slms.simulated import FarFieldCamera, Modulator, SimulatedDisplay
    from opticaldr.hardware.world import World

    world = World(seed=seed)
    modulator = Modulator.draw(one, np.random.default_rng([seed, 0x51A]))
    with (
        SimulatedDisplay(modulator, world) as display,
        FarFieldCamera(display, wavelength, seed=seed) as camera,
    ):
        yield Bench(display, camera, one, world.advance)


@contextmanager
def _real(one: Panel, wavelength: float, monitor: str, camera: str) -> Iterator[Bench]:
    import time

    from opticaldr.calibration.rig import ask_at_terminal
    from opticaldr.calibration.slm_response import Bench
    from opticaldr.hardware.rig import camera_named, camera_of
    from opticaldr.hardware.slms import WindowDisplay

    with WindowDisplay(one, monitor) as display, camera_of(camera_named(camera)) as there:
        ask_at_terminal(f"switch the {wavelength * 1e9:.0f} nm laser on")
        yield Bench(display, there, one, time.sleep)
