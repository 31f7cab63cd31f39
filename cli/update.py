"""``opticaldr update``: give a camera another bundle, or the one before again."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json


def update(
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder of the new bundle.", show_default=False)
    ] = None,
    trust: Annotated[Path, typer.Option(help="Public key that must have signed it.")] = Path(
        "/etc/opticaldr/maker.pub"
    ),
    store: Annotated[Path, typer.Option(help="Folder of the installed bundles.")] = Path(
        "/var/lib/opticaldr/bundles"
    ),
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the previous bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Check a bundle, try it, and make the camera start with it.

    Nothing changes if it fails.
    """
    from opticaldr.cli.console import tell
    from opticaldr.device import update as updates

    if (bundle is None) is not rollback:
        raise typer.BadParameter("name a bundle, or say --rollback")
    if bundle is None:
        now = updates.roll_back(store, trust)
    else:
        now = updates.update(bundle, store, trust, say=lambda step: typer.echo(step, err=True))
    tell(
        {
            "current": now.id,
            "link": str(store / updates.CURRENT),
            "next": "restart the camera: sudo systemctl restart opticaldr",
        },
        as_json=as_json,
    )
