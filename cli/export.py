"""``opticaldr export``: the signed bundle that a camera is given."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from opticaldr.cli.options import AcceptFailedGates, Json, Out, Seed


def export(
    networks: Annotated[Path, typer.Argument(help="Folder of a head (or of a design, not adapted).")],
    calibration: Annotated[
        Path, typer.Option(help="Folder of the calibration of the camera.", show_default=False)
    ],
    key: Annotated[
        Path,
        typer.Option(help="Private key that signs; made here, with mode 0600, if there is none."),
    ] = Path("signing.key"),
    accept_failed_gates: AcceptFailedGates = False,
    precision: Annotated[
        Literal["float32", "int8"], typer.Option(help="Form of the frame graph that the camera shall run.")
    ] = "float32",
    target: Annotated[
        Literal["x86", "arm"], typer.Option(help="Processor that the INT8 graph is meant for.")
    ] = "x86",
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write and sign the bundle that a camera runs.

    It holds the graphs from raw frame to estimate, proven to equal the networks. Keep the key to yourself and
    give its .pub file to whoever runs the camera.
    """
    from opticaldr.artefacts import create_key, load_key, open_artefact
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.models.export import export as make_bundle

    adapted = open_artefact(networks, kind=("head", "design"))
    measured = open_artefact(calibration, kind="calibration")
    signer = load_key(key) if key.exists() else create_key(key)
    with progress_bar() as progress:
        made = make_bundle(
            adapted,
            measured,
            signer,
            out,
            seed,
            progress,
            accept_failed_gates=accept_failed_gates,
            precision=precision,
            target=target,
        )
    parity = made.json("parity.json")
    tell(
        {
            "bundle": made.path,
            "id": made.id,
            "parity_frames": parity["frames"],
            "worst_estimate_difference": parity["worst_estimate_difference"],
            "int8_mae_change": parity["int8"]["mae"] - parity["int8"]["mae_float32"],
            "int8_kept_in_float": len(parity["int8"]["kept_in_float"]),
            "public_key": key.with_name(key.name + ".pub"),
        },
        as_json=as_json,
    )
