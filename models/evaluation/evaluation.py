"""The whole evaluation of an artefact: simulated subjects always, photographs where given, one artefact out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from opticaldr.artefacts import Artefact, create
from opticaldr.errors import Refusal
from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.attacks import Ground
from opticaldr.models.evaluation.faces import Faces, Progress, face_widths, simulated_faces
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.recognisers import NetworkRecogniser, OnnxRecogniser
from opticaldr.models.evaluation.report import write_report
from opticaldr.models.evaluation.retraining import Schedule, train_recogniser
from opticaldr.models.evaluation.study import Row, Study, run_study
from opticaldr.models.evaluation.subject import Subject, read_subject
from opticaldr.models.evaluation.verification import as_json
from opticaldr.models.networks import Recogniser as RecogniserNetwork

TEST_PEOPLE = 1_000_000
"""Number of the first simulated subject that is tested on; training, here and of designs, uses smaller ones."""

TRAIN_PEOPLE = 500_000


@dataclass(frozen=True)
class Budget:
    """How much is spent: simulated people, sessions of each, pictures of each session; epochs; bootstrap samples."""

    train: int
    test: int
    sessions: int
    frames: int
    crop: int
    clean: Schedule
    attack: Schedule
    utility: int
    replicates: int


BUDGETS = {
    "quick": Budget(120, 40, 4, 2, 48, Schedule(12), Schedule(8, learning_rate=2e-3), 8, 200),
    "standard": Budget(400, 100, 4, 3, 64, Schedule(16), Schedule(20, learning_rate=2e-3), 12, 400),
}


def evaluate(
    subject: Artefact,
    out: Path | None = None,
    *,
    faces: Path | None = None,
    recogniser: Path | None = None,
    budget: Literal["quick", "standard"] = "quick",
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Attack an optic with every rung of the ladder and write down who got how far.

    Args:
        subject: a design, calibration, head or bundle.
        out: folder of the evaluation.
        faces: folder of photographs, one folder a person, to be judged beside the simulated subjects.
        recogniser: an ONNX embedding network with its TOML; needed for photographs.
        budget: ``quick`` (about a minute on two cores) or ``standard`` (tens of minutes).
        seed: of everything random.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        An artefact of kind ``evaluation``: ``metrics.json`` and ``report.html``. ``metrics.json`` says ``valid: false`` and why
        if the attackers or the protocol failed their own controls.

    Raises:
        Refusal: the artefact has no optics, or faces or recogniser cannot be used.
    """
    optics, spend = read_subject(subject), BUDGETS[budget]
    if faces is not None and recogniser is None:
        raise Refusal("photographs need a recogniser that knows photographs", "name one with --recogniser")
    studies = [simulated_study(optics, budget, seed=seed, progress=progress)]
    with create("evaluation", out, parents=[subject], seed=seed) as draft:
        metrics = summary(studies, optics, depression, budget)
        (draft.path / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_report(draft.path / "report.html", studies, metrics)
    return draft.sealed()


def summary(
    studies: list[Study], optics: Subject, depression: dict[str, Interval], budget: str
) -> dict[str, Any]:
    """Everything that was found, for ``metrics.json``: intervals as ``[value, low, high]``."""
    study = max(studies, key=lambda study: study.worst().auc.value)
    worst = study.worst()
    faults = [f"{study.population}: {fault}" for study in studies for fault in study.faults]
    return {
        "headline": {"population": study.population, **_row(worst)},
        "valid": not faults,
        "faults": faults,
        "budget": budget,
        "depths": list(optics.depths),
        "psf": "measured" if optics.measured else "computed",
        "depression": as_json(depression),
        "studies": [
            {
                "population": study.population,
                "people": study.people,
                "pictures": study.pictures,
                "recognisers": as_json(study.recognisers),
                "refused": study.refused,
                "null": study.null.json(),
                "by_depth": as_json(study.by_depth),
                "optics": {
                    view: {
                        "ee50": width,
                        "worst_auc": study.worst(view).auc.json(),
                        "expression_accuracy": study.expression[view].json() if study.expression else None,
                    }
                    for view, width in study.widths.items()
                },
                "rows": [_row(row) | {"optic": row.view, "notes": row.notes} for row in study.rows],
            }
            for study in studies
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    about = {"attacker": row.attacker, "recogniser": row.recogniser, "protocol": row.protocol}
    return about | as_json(row.figures)


def simulated_study(
    optics: Subject, budget: str, *, seed: int, progress: Progress = lambda stage, done, total: None
) -> Study:
    """The ladder on simulated subjects, with a recogniser trained here on clean ones."""
    spend = BUDGETS[budget]
    widths = face_widths(optics.spec, optics.depths)
    size = optics.spec.sensor.binned_shape

    def film(first: int, people: int) -> Faces:
        who = range(first, first + people)
        return simulated_faces(
            who, spend.sessions, spend.frames, widths, seed=seed, size=size, progress=progress
        )

    train, test = film(TRAIN_PEOPLE, spend.train), film(TEST_PEOPLE, spend.test)
    clean = clean_recogniser(train, spend.crop, spend.clean, seed=seed, progress=progress)
    ground = Ground(
        train, test, [clean], clean, spend.attack, seed, shown=one_picture_each(test, 8), progress=progress
    )
    return run_study(
        "simulated subjects",
        ground,
        optics,
        budget=budget,
        utility_epochs=spend.utility,
        replicates=spend.replicates,
    )


def one_picture_each(faces: Faces, people: int) -> Any:
    """Indices of the first picture of the first few people."""
    return np.unique(faces.people, return_index=True)[1][:people]


def clean_recogniser(
    train: Faces,
    crop: int,
    schedule: Schedule,
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> NetworkRecogniser:
    """A recogniser trained on clean pictures, remembered by their content."""
    import torch

    crops = align(train.scenes, train.landmarks, crop)

    def compute() -> store.Arrays:
        network, _ = train_recogniser(
            crops, train.people, schedule, seed=seed, stage="train recogniser", progress=progress
        )
        return {name: value.numpy() for name, value in network.state_dict().items()}

    weights = store.remember(store.content_key("clean", crops, train.people, repr(schedule), seed), compute)
    network = RecogniserNetwork(size=crop)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return NetworkRecogniser(network.eval(), crop, "trained here on clean faces")
