"""``opticaldr run``: the deployed camera, or the same two processes with a simulated one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from opticaldr.cli.options import Json, Seed


def run(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, made by opticaldr export.")],
    source: Annotated[
        str,
        typer.Option(
            help="Scene before the camera: simulated:N, a video, a folder of pictures, a webcam's number, "
            "or replay:DIR for recorded raw frames."
        ),
    ] = "simulated:0",
    rig: Annotated[
        str, typer.Option(help="What looks at it: 'simulated', or a RIG.toml with a camera and a board.")
    ] = "simulated",
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so many seconds.")] = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Least seconds between estimates in the long run: the bit budget.")
    ] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the audit log, the device's key and the estimates; continued if it is there. "
            "Default: runs/run-<random>.",
            show_default=False,
        ),
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Public key that must have signed the bundle.", show_default=False)
    ] = None,
    unmask_at: Annotated[
        int | None,
        typer.Option(min=1, help="Take the simulated mask off before this frame, to see what happens."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
    development: Annotated[
        bool, typer.Option("--development", help="Run although a protection fails; marks every record.")
    ] = False,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="A clinic's TOML file: FHIR, MQTT, the local page.", show_default=False, readable=False
        ),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run the camera: estimates go out, frames never do. Ctrl-C ends it and prints the summary."""
    from opticaldr.cli.console import tell
    from opticaldr.device.run import run as run_device

    if development:
        typer.secho(
            "DEVELOPMENT MODE: not for people; frames may not be protected", fg="red", bold=True, err=True
        )
    summary = run_device(
        bundle,
        rig=rig,
        source=source,
        out=out,
        trust=trust,
        frames=frames,
        seconds=seconds,
        interval=interval,
        unmask_at=unmask_at,
        threads=threads,
        seed=seed,
        development=development,
        settings=settings,
        on_entry=lambda entry: _tell_live(entry) if not as_json else None,
    )
    tell(summary if as_json else _for_people(summary), as_json=as_json)
    if not summary["passed"]:
        raise typer.Exit(4 if _died(summary["eye"]) else 1)


def _died(eye: dict[str, Any]) -> bool:
    """Whether eye ended without a reason of its own, so that starting it again may help."""
    return not eye["said_farewell"] and not eye["suspicion"] and eye["exit_code"] != 0


def _tell_live(entry: Any) -> None:
    body, clock = entry["body"], entry["time"][11:19]
    if entry["kind"] == "estimate":
        remarks = f"  ({', '.join(body['quality'])})" if body["quality"] else ""
        typer.echo(f"{clock}  BDI-II {body['estimate']:4.1f} ± {body['sigma']:.1f}{remarks}")
    elif entry["kind"] == "hello":
        typer.echo(f"{clock}  eye is locked in: {', '.join(body['protections'])}")
    elif entry["kind"] == "event":
        typer.secho(f"{clock}  {body['event']}", fg="red", bold=True)
    elif entry["kind"] in ("suspicion", "bad record"):
        typer.secho(f"{clock}  {entry['kind']}: {body['why']}", fg="red", bold=True)


def _delivered(sink: dict[str, Any]) -> str:
    refused = f", {sink['dead']} refused for good ({sink['why_dead']})" if sink["dead"] else ""
    trouble = f" ({sink['trouble']})" if sink["trouble"] else ""
    return f"{sink['delivered']} delivered, {sink['waiting']} waiting{trouble}{refused}"


def _for_people(summary: dict[str, Any]) -> dict[str, Any]:
    bits, lost = summary["bits"], summary["not_logged"]
    return {
        "": "",
        "estimates": summary["estimated"],
        "frames": f"{summary['frames'] or 0} seen, {summary['dropped'] or 0} dropped",
        **({"latency_ms": summary["latency_ms"]} if summary["latency_ms"] else {}),
        "interlock": summary["interlock"],
        "bit_budget": f"{bits['per_hour']:.0f} bits an hour; one face image takes {bits['face_image']}",
        "audit_log": f"{summary['audit']['log']} ({summary['audit']['entries']} entries)",
        **{f"to_{sink['name']}": _delivered(sink) for sink in summary["delivery"]},
        **({"not_logged": f"{lost} entries: the disk was full or failing"} if lost else {}),
        "eye": summary["eye"],
        "note": summary["purpose"],
    }
