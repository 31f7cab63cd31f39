"""``opticaldr ablate``: is a learned lens more private than simpler optics that are as useful?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opticaldr.cli.evaluate import Budget
from opticaldr.cli.options import AcceptFailedGates, Faces, Json, Recogniser

if TYPE_CHECKING:
    from opticaldr.artefacts import Artefact
    from opticaldr.models.evaluation.study import Study

CLIPS = (100, 60)
"""People whose clips the depression score is learned from behind every optic, and people it is tried on."""


def ablate(
    subject: Annotated[
        Path, typer.Argument(metavar="ARTEFACT", help="Folder of a design, calibration, head or bundle.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the result as JSON here.", show_default=False)
    ] = None,
    faces: Faces = None,
    recogniser: Recogniser = None,
    seeds: Annotated[int, typer.Option(min=2, max=100, help="How many times, from seed 0 on.")] = 3,
    budget: Annotated[Budget, typer.Option(help="People and attackers of each time.")] = Budget.quick,
    accept_failed_gates: AcceptFailedGates = False,
    as_json: Json = False,
) -> None:
    """Set a lens beside blurs, random masks and its own start.

    The controls are defocus, Gaussian blur, low resolution, random Zernikes and the start of its learning.
    Every time with other people, other noise and other attackers, each control is tuned until as much of an
    expression can be read through it as through the lens, and both meet the same attackers; the error of the
    depression score is measured beside it. Exits with 1 unless the lens gives the lower worst-case AUC beside
    every control on simulated subjects. What was computed is remembered, so a stopped run goes on where it
    was.
    """
    from opticaldr.artefacts import open_artefact
    from opticaldr.calibration.measured import require_passed_gates
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.errors import Refusal
    from opticaldr.models.evaluation.attackers import Attack, OffTheShelf, Retrained
    from opticaldr.models.evaluation.populations import (
        photographed_ground,
        photographed_study,
        simulated_study,
    )
    from opticaldr.models.evaluation.subject import read_subject, seats

    if out is not None and out.exists():
        raise Refusal(f"{out} exists already", "name another --out or remove it")
    if (faces is None) != (recogniser is None):
        missing = "--recogniser" if recogniser is None else "--faces"
        raise Refusal(f"photographs and their recogniser go together, {missing} is missing", "give both")
    artefact = open_artefact(subject, kind=("design", "calibration", "head", "bundle"))
    if artefact.manifest.kind == "calibration":
        require_passed_gates(artefact, accept_failed_gates=accept_failed_gates)
    seated, start = seats(artefact), _start(artefact)
    attacks: list[Attack] = [OffTheShelf(), Retrained()]
    studies, photographed, optics = [], [], None
    with progress_bar() as progress:
        for seed in range(seeds):
            ground = None
            if faces is not None and recogniser is not None:
                ground = photographed_ground(
                    *seated, budget.value, faces, recogniser, seed=seed, progress=progress
                )
            optics = optics or read_subject(artefact, progress=progress)
            study = simulated_study(
                optics, budget.value, seed=seed, attacks=attacks, clips=CLIPS, start=start, progress=progress
            )
            studies.append(study)
            if faces is not None and ground is not None:
                controls = [found.view for found in study.matches]
                photographed.append(
                    photographed_study(
                        ground, optics, budget.value, faces.name, controls, attacks=attacks, start=start
                    )
                )
    found = {"subject": artefact.id, "budget": budget, "seeds": seeds, **compared(studies)}
    if photographed:
        found["photographs"] = compared(photographed)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if as_json:
        tell(found, as_json=True)
    else:
        lines = {name: _line(row) for name, row in found["optics"].items()}
        if photographed:
            shown = found["photographs"]["optics"].items()
            lines |= {f"photographs, {name}": _line(row) for name, row in shown}
        tell({**lines, "lens beats every control": "yes" if found["beats_all"] else "NO"}, as_json=False)
    raise typer.Exit(0 if found["beats_all"] else 1)


def _start(artefact: "Artefact") -> "dict[int, float] | None":
    """The surface that learning began with, Noll index to metres, where the artefact is a design that says so."""
    if artefact.manifest.kind != "design" or "config.toml" not in artefact.manifest.files:
        return None
    from opticaldr.models.training import DesignConfig, load_config
    from opticaldr.models.training.lens import unlearned

    config = load_config(DesignConfig, artefact.file("config.toml"))
    return unlearned(config) if config.lens.fan else None


def compared(studies: "list[Study]") -> dict[str, Any]:
    """Worst-case AUC and utility of the lens and its controls, mean over seeds with 95 % intervals (Student's t).

    Lens and controls meet the same attackers. ``lead`` is the control's AUC less the lens's, seed by seed: the
    lens beats a control if the interval of its lead lies above zero. ``mae_above_lens`` likewise is the control's
    error of the depression score less the lens's, in points.
    """
    lens, first = studies[0].subject, studies[0]
    optics = {"lens" if name == lens else name: _row(studies, name) for name in (lens, *first.controls)}
    found: dict[str, Any] = {"optics": optics}
    if first.scores:
        found["constant_mae"] = _mean([study.scores[lens]["constant_mae"].value for study in studies])
    return {**found, "beats_all": all(row.get("beaten", True) for row in optics.values())}


def _row(studies: "list[Study]", name: str) -> dict[str, Any]:
    """One optic's figures; those that set it beside the lens only if it is another."""
    worst = [study.worst(name).auc.value for study in studies]
    row: dict[str, Any] = {"auc": _mean(worst)}
    if useful := [study.utility[name] for study in studies if name in study.utility]:
        row["expression_r2"] = _mean([found.expression.value for found in useful])
        row["smile_accuracy"] = _mean([found.accuracy.value for found in useful])
    if scores := [study.scores[name] for study in studies if name in study.scores]:
        row["mae"] = _mean([found["mae"].value for found in scores])
    if name == studies[0].subject:
        return row
    row["lead"] = _mean([auc - study.worst().auc.value for auc, study in zip(worst, studies, strict=True)])
    row["beaten"] = row["lead"][1] > 0
    if scores:
        row["mae_above_lens"] = _mean([found["mae_above_lens"].value for found in scores])
    return row


def _mean(values: list[float]) -> list[float]:
    """``[mean, low, high]``."""
    import numpy as np
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [float(np.mean(values)), float(np.mean(values) - half), float(np.mean(values) + half)]


def _line(row: dict[str, Any]) -> str:
    def span(values: list[float], digits: int) -> str:
        value, low, high = (f"{value:.{digits}f}" for value in values)
        return f"{value} [{low}, {high}]"

    text = [f"AUC {span(row['auc'], 4)}"]
    if "lead" in row:
        text.append(f"above the lens by {span(row['lead'], 4)}")
    if "expression_r2" in row:
        text.append(f"expression R² {row['expression_r2'][0]:.2f}")
    if "mae" in row:
        text.append(f"score error {row['mae'][0]:.1f} points")
    return ", ".join(text)
