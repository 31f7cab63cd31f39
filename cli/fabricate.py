"""``opticaldr fabricate``: the files for a fab, or the pattern for an SLM."""

from pathlib import Path
from typing import Annotated, Any

import typer

from opticaldr.cli.options import Json, Out, Seed

_LENGTHS = {"nm": 1e-9, "um": 1e-6, "µm": 1e-6, "mm": 1e-3}


def fabricate(
    design: Annotated[
        Path | None, typer.Argument(help="Folder of a design (or of a mask as built).", show_default=False)
    ] = None,
    process: Annotated[
        str,
        typer.Option("--process", help="refractive, grayscale, multilevel, two-photon, replica or slm."),
    ] = "multilevel",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the process, as name=value: levels=16, pixel=1um.", show_default=False
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", help="TOML file of settings (metres); --set overrides.", show_default=False
        ),
    ] = None,
    parts: Annotated[
        int, typer.Option("--parts", min=0, help="Parts in the tolerance analysis; 0: none.")
    ] = 64,
    accept_broken_rules: Annotated[
        bool, typer.Option("--accept-broken-rules", help="Exit with 0 although design rules are broken.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="List the settings of the process.")] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a mask's files, a drawing sheet and a prediction.

    The files are for one process; the prediction says what that process will make of the PSF. Exit code 1 means
    that the relief breaks a design rule of the process: the files are there to be looked at.
    """
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.errors import Refusal

    if explain:
        _explain(process, as_json)
        return
    if design is None:
        raise Refusal("no design is named", "opticaldr fabricate DESIGN --process multilevel")
    from opticaldr.artefacts import open_artefact
    from opticaldr.hardware import fabrication

    told = {**_from_file(settings), **dict(map(_parsed, setting or []))}
    source = open_artefact(design, kind=("design", "mask"))
    with progress_bar() as progress:
        made = fabrication.fabricate(
            source,
            process,
            out,
            settings=told,
            parts=parts,
            seed=seed,
            accept_broken_rules=accept_broken_rules,
            progress=progress,
        )
    prediction = made.json("prediction.json")
    result: dict[str, Any] = {
        "made": made.path,
        "id": made.id,
        "report": made.path / "report.html",
        "psf_correlation": prediction["psf_ncc_worst"],
    }
    if made.kind == "mask":
        result["drawing_sheet"] = made.path / "sheet.pdf"
        result["broken_design_rules"] = sum(prediction["broken_rules"].values())
    else:
        result["frame"] = made.path / "frame.png"
        result["aliased_pixels"] = prediction["aliased_pixels"]
    if as_json:
        result["broken_rules"] = prediction["broken_rules"]
        result["accepted_broken_rules"] = accept_broken_rules
    tell(result, as_json=as_json)
    if prediction["broken_rules"] and not accept_broken_rules:
        _complain(made.path, made.kind, prediction["broken_rules"])


def _complain(folder: Path, kind: str, broken: dict[str, int]) -> None:
    """Name the broken rules in one line and end with exit code 1."""
    what, places, lists = ("design rules", "places", "report.html and rules.csv")
    if kind == "pattern":
        what, places, lists = ("limits of the SLM", "pixels", "report.html")
    named = ", ".join(f"{rule} ({count} {places})" for rule, count in broken.items())
    typer.echo(
        f"{what} broken: {named}; see {lists} in {folder}, change the design or the settings, or go on at your own "
        "risk with --accept-broken-rules",
        err=True,
    )
    raise typer.Exit(1)


def _from_file(path: Path | None) -> dict[str, Any]:
    import tomllib

    from opticaldr.errors import Refusal

    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror})", "check the path") from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not TOML: {error}", "mend the line it names") from None


def _parsed(setting: str) -> tuple[str, Any]:
    """``levels=16``, ``pixel=1um``, ``white=unexposed`` as name and value; lengths become metres."""
    import tomllib

    from opticaldr.errors import Refusal

    name, equals, text = setting.partition("=")
    if not equals:
        raise Refusal(f"--set {setting} has no value", "write it as name=value")
    name, text = name.strip().replace("-", "_"), text.strip()
    for unit, metres in _LENGTHS.items():
        if text.endswith(unit):
            try:
                return name, float(text.removesuffix(unit)) * metres
            except ValueError:
                break
    try:
        return name, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return name, text


def _explain(process: str, as_json: bool) -> None:
    from opticaldr.cli.console import tell
    from opticaldr.hardware.fabrication import SlmPattern, process_class

    chosen = SlmPattern if process == "slm" else process_class(process)
    fields = chosen.model_fields.items()
    if as_json:
        tell(
            {name: {"default": field.default, "meaning": field.description} for name, field in fields},
            as_json=True,
        )
        return
    typer.echo(f"{process}: {chosen.title}\n")
    width = max(len(name) for name, _ in fields)
    for name, field in fields:
        typer.echo(f"{name:<{width}}  {field.default!s:<12}  {field.description}")
