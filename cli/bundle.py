"""``opticaldr bundle``: what a bundle is, whether it is untouched, and who vouches for it."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Look into a bundle, verify it, or sign it with another key.")

Bundle = Annotated[Path, typer.Argument(help="Folder of the bundle.")]


@app.command()
def verify(
    bundle: Bundle,
    key: Annotated[Path, typer.Option(help="Public key (.pub) of who signed it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Check every byte, the signature, the age and the graphs.

    The age is the calibration's; the graphs must load and be ours.
    """
    from opticaldr.artefacts import load_public_key
    from opticaldr.artefacts.bundle import require_fresh, verify_bundle
    from opticaldr.artefacts.graphs import check_graphs
    from opticaldr.cli.console import tell

    opened, spec = verify_bundle(bundle, load_public_key(key))
    require_fresh(spec)
    check_graphs(opened, spec)
    tell(
        {"bundle": bundle, "id": opened.id, "files": len(opened.manifest.files), "verified": True},
        as_json=as_json,
    )


@app.command()
def sign(
    bundle: Bundle,
    key: Annotated[Path, typer.Option(help="Private key (mode 0600).", show_default=False)],
    signed_by: Annotated[
        Path, typer.Option("--signed-by", help="Public key of who signed it so far.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a copy of a bundle, signed with another key.

    The bundle is verified first, and stays as it is.
    """
    from opticaldr.artefacts import load_key, load_public_key
    from opticaldr.artefacts.bundle import resign_bundle, verify_bundle
    from opticaldr.cli.console import tell

    signer = load_key(key)
    opened, _ = verify_bundle(bundle, load_public_key(signed_by))
    made = resign_bundle(opened, signer, out)
    tell({"bundle": made.path, "id": made.id}, as_json=as_json)


@app.command()
def inspect(bundle: Bundle, as_json: Json = False) -> None:
    """Say what a bundle holds, without vouching for who signed it."""
    from opticaldr.artefacts import open_artefact
    from opticaldr.artefacts.bundle import SIGNATURE, read_spec
    from opticaldr.cli.console import tell

    opened = open_artefact(bundle, kind="bundle")
    spec = read_spec(opened)
    parity = opened.json("parity.json") if "parity.json" in opened.manifest.files else {}
    signature = opened.json(SIGNATURE) if SIGNATURE in opened.manifest.files else {}
    camera = spec.camera
    tell(
        {
            "bundle": bundle,
            "id": opened.id,
            "design": spec.design,
            "calibration": spec.calibration,
            "networks": spec.networks,
            "camera": f"{camera.columns} x {camera.rows} {camera.bayer}, {camera.bits} bit, "
            f"binned {camera.binning} x {camera.binning}",
            "window": f"{spec.window.frames} frames, {spec.window.fps:g} a second",
            "runs": spec.frame_graph,
            "expires": spec.expires.isoformat() if spec.expires else "not stated",
            "worst_estimate_difference": parity.get("worst_estimate_difference", "not stated"),
            "kept_in_float": parity.get("int8", {}).get("kept_in_float", "not stated") or "nothing",
            "signed_with": signature.get("public_key", "unsigned"),
            "bytes": sum(opened.file(name).stat().st_size for name in opened.manifest.files),
            "purpose": spec.purpose,
        },
        as_json=as_json,
    )
