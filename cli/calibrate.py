"""``opticaldr calibrate``: measure the optics that came back from the workshop."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opticaldr.cli.options import Json, Out, Seed

if TYPE_CHECKING:
    from opticaldr.artefacts import Artefact


class Export(StrEnum):
    """Formats of the PSF bank, all float32."""

    hdf5 = "hdf5"
    tiff = "tiff"
    exr = "exr"


def calibrate(
    design: Annotated[
        Path | None, typer.Argument(help="Folder of the design that was made.", show_default=False)
    ] = None,
    rig: Annotated[
        str, typer.Option("--rig", help="RIG.toml of the bench, or the word simulated.")
    ] = "simulated",
    depths: Annotated[
        int, typer.Option("--depths", min=1, max=50, help="Depths to measure at; the gates ask for three.")
    ] = 5,
    fields: Annotated[
        int, typer.Option("--fields", help="Field angles: 1 on axis, 5 with the corners, 9 in a grid.")
    ] = 1,
    frames: Annotated[
        int, typer.Option("--frames", min=1, max=1000, help="Frames averaged at every exposure.")
    ] = 4,
    chart: Annotated[
        bool,
        typer.Option(
            "--chart", help="Show a noise chart on a monitor, too, and compare it with the point source."
        ),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            help="Folder for finished measurements; the same folder resumes. Default: beside the result.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of another design that may stand on the bench by mistake; may be repeated.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Export | None,
        typer.Option("--export", help="Also write the PSF bank beside the result.", show_default=False),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--check", help="Only compare the bench with this calibration: five minutes.", show_default=False
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure sensor and PSFs, and find out what was built.

    Its gates say whether to trust that. Stopped with Ctrl-C, it goes on where it was when started again. Exit
    code 1 means that a quality gate failed: the calibration is there, marked, and its report says what to do.
    """
    if (design is None) == (known is None):
        raise typer.BadParameter("give the folder of a design, or --check CALIBRATION", param_hint="DESIGN")
    if known is not None:
        _check(known, rig, seed, as_json)
        return
    from opticaldr.artefacts import open_artefact
    from opticaldr.calibration.calibrate import calibrate as run
    from opticaldr.calibration.capture import Plan
    from opticaldr.calibration.first_look import Candidate
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.hardware.rig import load_rig
    from opticaldr.models.optics import Optic

    if fields not in (1, 5, 9):
        raise typer.BadParameter("choose 1, 5 or 9", param_hint="--fields")
    assert design is not None
    source, bench = open_artefact(design, kind="design"), load_rig(rig)
    others = [
        Candidate(
            f"the design {path}",
            Optic.read(open_artefact(path, kind="design").path),
            "put the mask of this design on the bench, or calibrate the other design",
        )
        for path in against or []
    ]
    plan = Plan(depths=depths, frames=frames, fields=fields, chart=chart)  # type: ignore[arg-type]
    with progress_bar() as progress:
        made = run(source, bench, out, seed=seed, plan=plan, work=work, others=others, progress=progress)
    exported = _export(made, form) if form else []
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
            **({"exported": exported} if exported else {}),
        },
        as_json=as_json,
    )
    _complain(failed)


def _check(known: Path, rig: str, seed: int, as_json: bool) -> None:
    from opticaldr.artefacts import open_artefact
    from opticaldr.calibration.check import check
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.hardware.rig import load_rig

    calibration = open_artefact(known, kind="calibration")
    with progress_bar() as progress:
        gates = [gate.record() for gate in check(calibration, load_rig(rig), seed=seed, progress=progress)]
    failed = [gate for gate in gates if not gate["passed"]]
    if as_json:
        tell({"calibration": str(calibration.path), "passed": not failed, "gates": gates}, as_json=True)
    else:
        verdicts = {
            gate["name"]: f"{gate['value']:.3g} ({gate['bound']} {gate['limit']:g}{' ' * bool(gate['unit'])}"
            f"{gate['unit']}): {'passed' if gate['passed'] else 'FAILED'}"
            for gate in gates
        }
        tell({"calibration": str(calibration.path), **verdicts}, as_json=False)
    _complain(failed)


def _complain(failed: list[dict[str, Any]]) -> None:
    """Say every failed gate in a line and end with exit code 1."""
    for gate in failed:
        typer.echo(
            f"gate failed: {gate['name']} is {gate['value']:.3g}, {gate['bound']} {gate['limit']:g} is "
            f"allowed; {gate['remedy']}",
            err=True,
        )
    if failed:
        raise typer.Exit(1)


def _export(made: "Artefact", form: Export) -> list[str]:
    """Write the bank beside the sealed calibration, which is never changed."""
    from opticaldr.calibration.bank import Bank
    from opticaldr.calibration.export import export_bank

    folder = made.path.with_name(f"{made.path.name}-{form.value}")
    folder.mkdir(parents=True, exist_ok=True)
    return [str(path) for path in export_bank(Bank.read(made.file("psf.npz")), form.value, folder)]
