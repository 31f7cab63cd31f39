"""``opticaldr show``: what an artefact is and where it comes from."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json


def show(
    artefact: Annotated[Path, typer.Argument(help="Folder of any artefact.")],
    as_json: Json = False,
) -> None:
    """Verify an artefact, then print its manifest and ancestry."""
    from opticaldr.artefacts import ancestry_lines, open_artefact
    from opticaldr.cli.console import tell

    manifest = open_artefact(artefact).manifest
    if as_json:
        tell(manifest.model_dump(mode="json"), as_json=True)
        return
    for line in ancestry_lines(manifest):
        typer.echo(line)
    typer.echo()
    seed = "none" if manifest.seed is None else manifest.seed
    typer.echo(
        f"id      {manifest.id}\nschema  {manifest.schema_version}\nseed    {seed}\nfiles   (all verified)"
    )
    for name, digest in manifest.files.items():
        typer.echo(f"  {digest[:12]}  {name}")
