"""``opticaldr calibrate``: measure the optics that came back from the workshop."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json, Out, Seed


def calibrate(
    design: Annotated[Path, typer.Argument(help="Folder of the design that was made.")],
    rig: Annotated[
        str, typer.Option("--rig", help="RIG.toml of the bench, or the word simulated.")
    ] = "simulated",
    depths: Annotated[int, typer.Option("--depths", min=1, max=50, help="Depths to measure at.")] = 5,
    frames: Annotated[
        int, typer.Option("--frames", min=1, max=1000, help="Frames averaged at every exposure.")
    ] = 4,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            help="Folder for finished measurements; the same folder resumes. Default: beside the result.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure sensor and PSFs, find out how the part was really built, and say whether to trust it.

    Stopped with Ctrl-C, it goes on where it was when started again. Exit code 1 means that a quality gate failed:
    the calibration is there, marked, and its report says what to do.
    """
    from opticaldr.artefacts import open_artefact
    from opticaldr.calibration import Plan
    from opticaldr.calibration import calibrate as run
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.hardware.rig import load_rig

    source, bench = open_artefact(design, kind="design"), load_rig(rig)
    plan = Plan(depths=depths, frames=frames)
    with progress_bar() as progress:
        made = run(source, bench, out, seed=seed, plan=plan, work=work, progress=progress)
    gates = made.json("gates.json")
    noise = made.json("noise.json")
    failed = [gate for gate in gates["gates"] if not gate["passed"]]
    tell(
        {
            "calibration": str(made.path),
            "id": made.id,
            "passed": gates["passed"],
            "gates": {gate["name"]: gate["value"] for gate in gates["gates"]},
            "gain_e_per_dn": noise["gain_e_per_dn"],
            "read_noise_e": noise["read_noise_e"],
            "report": str(made.path / "report.html"),
        },
        as_json=as_json,
    )
    for gate in failed:
        typer.echo(
            f"gate failed: {gate['name']} is {gate['value']:.3g}, {gate['bound']} {gate['limit']:g} is "
            f"allowed; {gate['remedy']}",
            err=True,
        )
    if failed:
        raise typer.Exit(1)
