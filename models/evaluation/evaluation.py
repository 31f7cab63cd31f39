"""The whole evaluation of an artefact: simulated subjects always, photographs where given, one artefact out."""

import json
from pathlib import Path
from typing import Any, Literal

from opticaldr.artefacts import Artefact, create, require_new
from opticaldr.errors import Refusal
from opticaldr.models.evaluation.controls import Match
from opticaldr.models.evaluation.depression import Judged, judge_networks
from opticaldr.models.evaluation.faces import Progress
from opticaldr.models.evaluation.populations import (
    TEST_PEOPLE,
    photographed_ground,
    photographed_study,
    raw_study,
    simulated_study,
)
from opticaldr.models.evaluation.report import write_report
from opticaldr.models.evaluation.study import Row, Study
from opticaldr.models.evaluation.subject import Subject, read_subject, seats
from opticaldr.models.evaluation.verdict import judge_protection
from opticaldr.models.evaluation.verification import as_json

JUDGED_ON = 30
"""Simulated people on whom an artefact's own networks are judged."""

BAYER_CELL = 2
"""Raw pixels along a side of the smallest block with every colour: what who holds the raw file sees."""

UNKNOWN_UTILITY = {"expression_r2": None, "smile_accuracy": None}
"""Of photographs, whose expressions nobody has measured."""


def evaluate(
    subject: Artefact,
    out: Path | None = None,
    *,
    faces: Path | None = None,
    recogniser: Path | None = None,
    detector: Path | None = None,
    design: Artefact | None = None,
    budget: Literal["quick", "standard", "full"] = "quick",
    dynamic: bool = False,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Attack an optic with every rung of the ladder and write down who got how far.

    Args:
        subject: a design, calibration, head or bundle.
        out: folder of the evaluation.
        faces: folder of photographs, one folder a person, to be judged beside the simulated subjects.
        recogniser: an ONNX embedding network with its TOML; needed for photographs.
        detector: a YuNet ONNX file that finds the landmarks of photographs that are not aligned.
        design: what the subject was built from, for an attacker who knows only that.
        budget: ``quick`` (two minutes on two cores), ``standard`` (tens of minutes) or ``full`` (hours).
        dynamic: whether random masks that change from frame to frame are attacked beside the lens.
        seed: of everything random.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        An artefact of kind ``evaluation``: ``metrics.json`` and ``report.html``. ``metrics.json`` says
        ``valid: false`` and why if the attackers or the protocol failed their own controls.

    Raises:
        Refusal: the artefact has no optics, or faces or recogniser cannot be used.
    """
    if (faces is None) != (recogniser is None):
        missing = "--recogniser" if recogniser is None else "--faces"
        raise Refusal(f"photographs and their recogniser go together, {missing} is missing", "give both")
    require_new(out)
    photographs = None
    if faces is not None and recogniser is not None:
        photographs = photographed_ground(
            *seats(subject), budget, faces, recogniser, detector=detector, seed=seed, progress=progress
        )
    optics = read_subject(subject, design, progress=progress)
    studies = [simulated_study(optics, budget, seed=seed, dynamic=dynamic, progress=progress)]
    if faces is not None and photographs is not None:
        controls = [found.view for found in studies[0].matches]
        studies.append(photographed_study(photographs, optics, budget, faces.name, controls))
    if budget != "quick" and optics.spec.sensor.binning > BAYER_CELL:
        raw = read_subject(subject, binning=BAYER_CELL, progress=progress)
        studies.append(raw_study(raw, budget, seed=seed, progress=progress))
    unknown = range(TEST_PEOPLE, TEST_PEOPLE + JUDGED_ON)
    judged = judge_networks(subject, optics, unknown, seed=seed, progress=progress)
    with create("evaluation", out, parents=[subject], seed=seed) as draft:
        metrics = summary(studies, optics, judged, budget)
        (draft.path / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_report(draft.path / "report.html", studies, metrics)
    return draft.sealed()


def summary(studies: list[Study], optics: Subject, judged: Judged | None, budget: str) -> dict[str, Any]:
    """Everything that was found, for ``metrics.json``: intervals as ``[value, low, high]``."""
    study = max(studies, key=lambda study: study.worst().auc.value)
    worst = study.worst()
    faults = [f"{study.population}: {fault}" for study in studies for fault in study.faults]
    passed, why = judge_protection((row.auc for one in studies for row in one.of(one.subject)), faults)
    return {
        "headline": {"population": study.population, **_row(worst)},
        "verdict": {"passed": passed, "why": why},
        "valid": not faults,
        "faults": faults,
        "budget": budget,
        "depths": list(optics.depths),
        "psf": "measured" if optics.measured else "computed",
        "psf_of_the_design": optics.designed is not None,
        "depression": as_json(judged.figures) if judged else {},
        "linked_by_estimates": as_json(judged.linkage) if judged else {},
        "studies": [
            {
                "population": study.population,
                "people": study.people,
                "pictures": study.pictures,
                "recognisers": as_json(study.recognisers),
                "refused": study.refused,
                "null": study.null.json(),
                "by_depth": as_json(study.by_depth),
                "matches": {found.view.name: _match(found) for found in study.matches},
                "optics": {
                    view: {
                        "ee50": width,
                        "worst_auc": study.worst(view).auc.json(),
                        **(study.utility[view].json() if view in study.utility else UNKNOWN_UTILITY),
                        "score": as_json(study.scores.get(view, {})),
                    }
                    for view, width in study.widths.items()
                },
                "rows": [_row(row) | {"optic": row.view, "notes": row.notes} for row in study.rows],
            }
            for study in studies
        ],
    }


def _match(found: Match) -> dict[str, Any]:
    return {
        "width": found.width,
        "lens": found.goal.json(),
        "control": found.reached.json(),
        "within": found.within,
        "tried": {f"{width:.3f}": value for width, value in found.tried.items()},
    }


def _row(row: Row) -> dict[str, Any]:
    about = {"attacker": row.attacker, "recogniser": row.recogniser, "protocol": row.protocol}
    return about | as_json(row.figures)
