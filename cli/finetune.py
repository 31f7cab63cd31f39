"""``opticaldr finetune``: adapt the networks to the optics that were built."""

from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import AcceptFailedGates, Json, Out, Seed


def finetune(
    design: Annotated[Path | None, typer.Argument(help="Folder of the design.", show_default=False)] = None,
    calibration: Annotated[
        Path | None, typer.Argument(help="Folder of the calibration of its mask.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with what differs from the defaults.", show_default=False)
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole config as TOML and stop.")
    ] = False,
    accept_failed_gates: AcceptFailedGates = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Adapt a design's networks to the measured optics.

    Says what that closes of the gap to the design.
    """
    from opticaldr.cli.config import one_line_errors
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.models.training.config import FinetuneConfig, config_toml, load_config

    with one_line_errors(config or "the defaults", FinetuneConfig):
        settings = load_config(FinetuneConfig, config)
    if print_config:
        typer.echo(config_toml(settings), nl=False)
        return
    if design is None or calibration is None:
        raise typer.BadParameter("give a design and its calibration: opticaldr finetune DESIGN CALIBRATION")

    from opticaldr.artefacts import open_artefact
    from opticaldr.models.training import finetune as adapt

    designed, measured = open_artefact(design, kind="design"), open_artefact(calibration, kind="calibration")
    with progress_bar() as progress:
        made = adapt(
            designed, measured, settings, out, seed, progress, accept_failed_gates=accept_failed_gates
        )
    metrics = made.json("metrics.json")
    states = ("as_designed", "before", "after")
    tell(
        {
            "head": made.path,
            "id": made.id,
            "factor_error": {state: metrics[state]["factor_error"] for state in states},
            "score_mae": {state: metrics[state]["score"]["mae"] for state in states},
            "score_mae_of_the_median": metrics["after"]["score"]["constant_mae"],
            "closure": {
                what: "no gap" if closed is None else closed for what, closed in metrics["closure"].items()
            },
            "best_step": metrics["best_step"],
            "factor_error_unlabelled": metrics["unlabelled"]["factor_error"],
            "recogniser_auc": {name: metrics["privacy"][f"{name}_auc"] for name in ("design", "built")},
            "report": made.file("report.html"),
        },
        as_json=as_json,
    )
