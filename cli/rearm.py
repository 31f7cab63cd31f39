"""``opticaldr rearm``: let a camera start again after its interlock closed."""

from pathlib import Path
from typing import Annotated

import typer


def rearm(
    folder: Annotated[Path, typer.Argument(help="Folder of the run (its --out) whose interlock closed.")],
) -> None:
    """Let a camera whose interlock closed start again.

    Enters into its audit log that you have looked at it.
    """
    from opticaldr.device.perseverance import rearm as enter

    enter(folder)
    typer.echo("armed again; start the camera as before")
