"""``opticaldr ablate``: is a learned lens more private than simpler optics that are as useful?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opticaldr.cli.evaluate import Budget
from opticaldr.cli.options import AcceptFailedGates, Json

if TYPE_CHECKING:
    from opticaldr.models.evaluation.study import Study


def ablate(
    subject: Annotated[Path, typer.Argument(help="Folder of a design, calibration, head or bundle.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the result as JSON here.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, max=100, help="How many times, from seed 0 on.")] = 3,
    budget: Annotated[Budget, typer.Option(help="People and attackers of each time.")] = Budget.quick,
    accept_failed_gates: AcceptFailedGates = False,
    as_json: Json = False,
) -> None:
    """Set a lens beside defocus, Gaussian blur, low resolution and random Zernikes, all equally useful.

    Every time with other people, other noise and other attackers, each control is tuned until as much of an
    expression can be read through it as through the lens, and both meet the same attackers. Exits with 1
    unless the lens gives the lower worst-case AUC beside every control. What was computed is remembered, so a
    stopped run goes on where it was.
    """
    from opticaldr.artefacts import open_artefact
    from opticaldr.calibration.measured import require_passed_gates
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.errors import Refusal
    from opticaldr.models.evaluation.attackers import OffTheShelf, Retrained
    from opticaldr.models.evaluation.populations import simulated_study
    from opticaldr.models.evaluation.subject import read_subject

    if out is not None and out.exists():
        raise Refusal(f"{out} exists already", "name another --out or remove it")
    artefact = open_artefact(subject, kind=("design", "calibration", "head", "bundle"))
    if artefact.manifest.kind == "calibration":
        require_passed_gates(artefact, accept_failed_gates=accept_failed_gates)
    optics = read_subject(artefact)
    with progress_bar() as progress:
        studies = [
            simulated_study(
                optics, budget.value, seed=seed, attacks=[OffTheShelf(), Retrained()], progress=progress
            )
            for seed in range(seeds)
        ]
    found = {"subject": artefact.id, "budget": budget, "seeds": seeds, **compared(studies)}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if as_json:
        tell(found, as_json=True)
    else:
        lines = {name: _line(row) for name, row in found["optics"].items()}
        tell({**lines, "lens beats every control": "yes" if found["beats_all"] else "NO"}, as_json=False)
    raise typer.Exit(0 if found["beats_all"] else 1)


def compared(studies: "list[Study]") -> dict[str, Any]:
    """Worst-case AUC and utility of the lens and its controls, mean over seeds with 95 % intervals (Student's t).

    Lens and controls meet the same attackers. ``lead`` is the control's AUC less the lens's, seed by seed: the
    lens beats a control if the interval of its lead lies above zero.
    """
    names = [match.view.name for match in studies[0].matches]
    worst = {name: [study.worst(name).auc.value for study in studies] for name in names}
    lens = [study.worst().auc.value for study in studies]
    useful = {
        name: [study.utility[name].expression.value for study in studies]
        for name in (studies[0].subject, *names)
    }
    optics: dict[str, Any] = {
        "lens": {"auc": _mean(lens), "expression_r2": _mean(useful[studies[0].subject])}
    }
    for name in names:
        lead = [control - own for control, own in zip(worst[name], lens, strict=True)]
        optics[name] = {
            "auc": _mean(worst[name]),
            "expression_r2": _mean(useful[name]),
            "lead": _mean(lead),
            "beaten": _mean(lead)[1] > 0,
        }
    return {"optics": optics, "beats_all": all(optics[name]["beaten"] for name in names)}


def _mean(values: list[float]) -> list[float]:
    """``[mean, low, high]``."""
    import numpy as np
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [float(np.mean(values)), float(np.mean(values) - half), float(np.mean(values) + half)]


def _line(row: dict[str, Any]) -> str:
    auc, useful = row["auc"], row["expression_r2"]
    text = f"AUC {auc[0]:.4f} [{auc[1]:.4f}, {auc[2]:.4f}], expression R² {useful[0]:.2f}"
    if "lead" in row:
        lead = row["lead"]
        text += f", above the lens by {lead[0]:.4f} [{lead[1]:.4f}, {lead[2]:.4f}]"
    return text
