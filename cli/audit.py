"""``opticaldr audit``: check the log of a device, or send from it again."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Check a camera's signed log, or deliver from it again.")


@app.callback()
def audit() -> None:
    """Check a camera's signed log, or deliver from it again."""


@app.command()
def verify(
    log: Annotated[Path, typer.Argument(help="Folder of a run, or the audit.ndjson in it.")],
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
    """Check that nothing was changed, removed, added or reordered.

    Also says who signed.
    """
    from opticaldr.artefacts import load_public_key
    from opticaldr.cli.console import tell
    from opticaldr.device.audit import public_hex, verify_log
    from opticaldr.device.chain import part_paths
    from opticaldr.device.run import LOG
    from opticaldr.errors import Refusal

    if log.is_dir():
        log /= LOG
    if not part_paths(log):
        raise Refusal(f"there is no audit log at {log}", "name the folder of a run")
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


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is stopped.")],
    sink: Annotated[str, typer.Option(help="Which sink is to get entries again: fhir, mqtt …")],
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Index of the first entry to send again. Default: the first one that was refused for good.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have entries delivered again at the next run.

    The sink knows repeats by their key.
    """
    from opticaldr.artefacts import load_key
    from opticaldr.cli.console import tell
    from opticaldr.device.audit import AuditLog
    from opticaldr.device.chain import part_paths
    from opticaldr.device.delivery import rewind
    from opticaldr.device.run import KEY, LOG
    from opticaldr.errors import Refusal

    if not part_paths(run / LOG):
        raise Refusal(f"there is no {LOG} in {run}", "name the folder of a run")
    with AuditLog(run / LOG, load_key(run / KEY)) as log:
        entries = rewind(log, sink, run, index=since)
        log.append("replay", {"sink": sink, "since": since, "entries": entries})
    then = "start the camera as before"
    tell({"sink": sink, "entries_to_send_again": entries, "next": then}, as_json=as_json)
