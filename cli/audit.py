"""``opticaldr audit``: check the log of a device."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Check the signed log of a deployed camera.")


@app.callback()
def audit() -> None:
    """Check the signed log of a deployed camera."""


@app.command()
def verify(
    log: Annotated[Path, typer.Argument(help="The audit.ndjson in the folder of a run.")],
    key: Annotated[
        Path | None,
        typer.Option(
            help="Public key of the device. Default: device.key.pub beside the log.", show_default=False
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="Hash of an entry noted down earlier, to find out whether the log was cut short."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that no entry was changed, removed, added or reordered, and who signed."""
    from opticaldr.artefacts import load_public_key
    from opticaldr.cli.console import tell
    from opticaldr.device.audit import public_hex, verify_log

    public = load_public_key(key if key is not None else log.with_name("device.key.pub"))
    found = verify_log(log, public, head=head)
    tell(
        {
            "verified": True,
            "entries": found.entries,
            "from": found.first,
            "to": found.last,
            "head": found.head,
            "signed_by": public_hex(public),
        },
        as_json=as_json,
    )
