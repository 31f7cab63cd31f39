"""``opticaldr rearm``: let a camera start again after its interlock closed."""

from pathlib import Path
from typing import Annotated

import typer


def rearm(
    folder: Annotated[Path, typer.Argument(help="Folder of the run (its --out) whose interlock closed.")],
) -> None:
    """Enter into the audit log that you have looked at the camera; then it may be started again."""
    from opticaldr.device.perseverance import rearm as enter

    enter(folder)
    typer.echo("armed again; start the camera as before")
