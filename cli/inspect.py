"""``opticaldr inspect``: a measured surface against the mask it should be."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json, Out


def inspect(
    mask: Annotated[Path, typer.Argument(help="Folder that fabricate made.")],
    surface: Annotated[
        Path, typer.Option("--surface", help="Measured surface: .x3p, or .tif or .npy with units given.")
    ],
    pitch: Annotated[
        float | None,
        typer.Option("--pitch", help="Metres a pixel, for a file without units.", show_default=False),
    ] = None,
    unit: Annotated[
        float | None,
        typer.Option("--unit", help="Metres to one unit of height, for such a file.", show_default=False),
    ] = None,
    flipped: Annotated[
        bool, typer.Option("--flipped", help="The instrument's export mirrors pictures.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Register a measured surface to its mask.

    Reports the form error, and keeps the mask as built.
    """
    from opticaldr.artefacts import open_artefact
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.hardware.fabrication import inspect_surface

    with progress_bar() as progress:
        built = inspect_surface(
            open_artefact(mask, kind="mask"),
            surface,
            out,
            pitch=pitch,
            unit=unit,
            flipped=flipped,
            progress=progress,
        )
    found = built.json("inspection.json")
    shown = (
        "part_mirrored",
        "orientation_ambiguous",
        "form_error_rms_m",
        "depth_gain",
        "scale",
        "rotation_deg",
        "psf_ncc_worst",
    )
    tell(
        {
            "as_built": built.path,
            "id": built.id,
            "report": built.path / "report.html",
            **(found if as_json else {name: found[name] for name in shown}),
        },
        as_json=as_json,
    )
    if found["part_mirrored"]:
        raise typer.Exit(1)
