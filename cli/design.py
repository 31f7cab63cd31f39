"""``opticaldr design``: learn a lens and its networks."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from opticaldr.cli.options import Json, Out, Seed


def design(
    preset: Annotated[
        str | None,
        typer.Option(
            help="Optics to start from, in place of the config's: clinic, or a TOML file like it.",
            show_default="clinic",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with what differs from the defaults, 'quick' or 'full'.", show_default=False
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Pictures to learn from: celeba:DIR, people:DIR, expressions:PATH.", show_default=False
        ),
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option(help="Films with BDI-II totals: avec2013:DIR or avec2014:DIR.", show_default=False),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(help="YuNet face detector (ONNX) for what brings no landmarks.", show_default=False),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole config as TOML and stop.")
    ] = False,
    show_optics: Annotated[
        Path | None,
        typer.Option(
            help="Draw the optics before learning into this HTML file and stop.", show_default=False
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Learn a lens, with its networks, on simulated subjects.

    It is rewarded for keeping expression and losing identity. The defaults take some five minutes on two
    cores; --config quick is for trying, --config full for a workstation. Stopped with Ctrl-C or killed, the
    same command goes on where it was.
    """
    from opticaldr.cli.config import one_line_errors
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.models.training.config import DesignConfig, config_toml, load_config

    with one_line_errors(config or "the defaults", DesignConfig):
        settings = load_config(DesignConfig, config)
    if preset is not None:
        settings = settings.model_copy(update={"preset": preset})
    named = {
        "pictures": tuple(data) if data else None,
        "clips": clips,
        "detector": detector and str(detector),
    }
    changed = {key: value for key, value in named.items() if value is not None}
    settings = settings.model_copy(update={"data": settings.data.model_copy(update=changed)})
    settings.optics()  # refuses a preset that there is not, before anything is printed
    if print_config:
        typer.echo(config_toml(settings), nl=False)
        return
    if show_optics is not None:
        from opticaldr.models.training.optics_report import write_optics_report

        write_optics_report(show_optics, settings)
        tell({"report": show_optics}, as_json=as_json)
        return

    from opticaldr.models.training import design_lens

    if (
        os.environ.get("RANK", "0") != "0"
    ):  # one of several processes that torchrun started: the first one talks
        design_lens(settings, out, seed)
        return
    with progress_bar() as progress:
        made = design_lens(settings, out, seed, progress)
    metrics = made.json("metrics.json")
    tell(
        {
            "design": made.path,
            "id": made.id,
            "factor_r2": metrics["factors"]["mean"],
            "score_mae": metrics["score"]["mae"],
            "score_mae_of_the_median": metrics["score"]["constant_mae"],
            "protocols": _baselines(metrics["protocols"]),
            "skipped": len(metrics["data"]["skipped"]),
            "recogniser_auc": metrics["adversary"]["auc"],
            "report": made.file("report.html"),
        },
        as_json=as_json,
    )


def _baselines(protocols: dict[str, Any]) -> dict[str, Any]:
    """Mean absolute errors of the estimate beside a constant's and a lookup's, for each protocol."""
    return {
        name: {who: protocol[who]["mae"][0] for who in ("estimate", "constant", "lookup")}
        for name, protocol in protocols.items()
    }
