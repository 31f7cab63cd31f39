"""``opticaldr evaluate``: how well anybody can be recognised through an optic, and what it still tells."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opticaldr.cli.options import AcceptFailedGates, Faces, Json, Out, Recogniser, Seed


class Budget(StrEnum):
    """How much to spend on attackers."""

    quick = "quick"
    standard = "standard"
    full = "full"


def evaluate(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="ARTEFACT", help="Folder of a design, calibration, head or bundle.", show_default=False
        ),
    ] = None,
    out: Out = None,
    faces: Faces = None,
    recogniser: Recogniser = None,
    budget: Annotated[
        Budget, typer.Option(help="quick: minutes; standard: every attacker, tens of minutes; full: hours.")
    ] = Budget.quick,
    detector: Annotated[
        Path | None,
        typer.Option(help="YuNet ONNX file, for photographs that are not aligned.", show_default=False),
    ] = None,
    design: Annotated[
        Path | None,
        typer.Option(
            help="Design that the optics were built from, for an attacker who has not measured them.",
            show_default=False,
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Also attack random masks that change from frame to frame.")
    ] = False,
    stage: Annotated[
        bool, typer.Option("--stage", help="Judge the simulated subjects themselves instead of an optic.")
    ] = False,
    accept_failed_gates: AcceptFailedGates = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Attack an optic with everybody on the ladder.

    The strongest attacker is the result. Exits with 1 if the attackers or the protocol fail their own
    controls (then nothing is proven), or, with --stage, if the simulated subjects are not a fair stage.
    """
    if stage == (subject is not None):
        raise typer.BadParameter("give the folder of an artefact, or --stage", param_hint="ARTEFACT")
    from opticaldr.artefacts import open_artefact
    from opticaldr.cli.console import progress_bar, tell

    if subject is None:
        from opticaldr.models.evaluation import stage_figures

        with progress_bar() as progress:
            figures = stage_figures(seed=seed, progress=progress)
        tell(figures, as_json=as_json)
        raise typer.Exit(0 if figures["fair"] else 1)

    from opticaldr.calibration.measured import require_passed_gates
    from opticaldr.models.evaluation import evaluate as judge

    artefact = open_artefact(subject, kind=("design", "calibration", "head", "bundle"))
    if artefact.manifest.kind == "calibration":
        require_passed_gates(artefact, accept_failed_gates=accept_failed_gates)
    with progress_bar() as progress:
        found = judge(
            artefact,
            out,
            faces=faces,
            recogniser=recogniser,
            detector=detector,
            design=open_artefact(design, kind="design") if design is not None else None,
            budget=budget.value,
            dynamic=dynamic,
            seed=seed,
            progress=progress,
        )
    metrics = found.json("metrics.json")
    if as_json:
        tell({"evaluation": found.path, **metrics}, as_json=True)
    else:
        worst = metrics["headline"]
        value, low, high = worst["auc"]
        names = ("attacker", "recogniser", "protocol", "population")
        tell(
            {
                "worst case": f"AUC {value:.3f} [{low:.3f}, {high:.3f}]",
                "by": ", ".join(worst[name] for name in names),
                "valid": "yes" if metrics["valid"] else "NO: " + "; ".join(metrics["faults"]),
                "report": found.path / "report.html",
            },
            as_json=False,
        )
    raise typer.Exit(0 if metrics["valid"] else 1)
