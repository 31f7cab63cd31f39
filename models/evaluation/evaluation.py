"""The whole evaluation of an artefact: simulated subjects always, photographs where given, one artefact
out."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from opticaldr.artefacts import Artefact, create
from opticaldr.errors import Refusal
from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.attacks import Ground
from opticaldr.models.evaluation.depression import judge_networks
from opticaldr.models.evaluation.faces import (
    Faces,
    Progress,
    check_repeated,
    face_widths,
    photographed_faces,
    simulated_faces,
)
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.recognisers import NetworkRecogniser, OnnxRecogniser
from opticaldr.models.evaluation.report import write_report
from opticaldr.models.evaluation.retraining import Schedule, train_recogniser
from opticaldr.models.evaluation.study import Row, Study, run_study
from opticaldr.models.evaluation.subject import Subject, read_subject
from opticaldr.models.evaluation.verification import as_json
from opticaldr.models.networks import Recogniser as RecogniserNetwork

TEST_PEOPLE = 1_000_000
"""Number of the first simulated subject that is tested on; training, here and of designs, uses smaller
ones."""

TRAIN_PEOPLE = 500_000

JUDGED_ON = 30
"""Simulated people on whom an artefact's own networks are judged."""

PHOTOGRAPHS_SEEN = 6000
"""Pictures that a network trained on photographs sees, at the least, counting repetitions."""


@dataclass(frozen=True)
class Budget:
    """How much is spent.

    Attributes:
        train, tune, test: simulated people, sessions of each, and pictures of each session. A clean
            recogniser is trained on
            the first; attackers also use the second, on whom it has not been trained, to choose settings.
        crop: side of the faces that networks trained here look at.
        clean, attack: training of the clean recogniser and of attackers.
        utility: epochs of the expression network.
        replicates: bootstrap samples.
    """

    train: tuple[int, int, int]
    tune: int
    test: tuple[int, int, int]
    crop: int
    clean: Schedule
    attack: Schedule
    utility: int
    replicates: int


BUDGETS = {
    "quick": Budget(
        train=(120, 3, 2),
        tune=20,
        test=(48, 4, 1),
        crop=48,
        clean=Schedule(14),
        attack=Schedule(9, learning_rate=2e-3),
        utility=10,
        replicates=200,
    ),
    "standard": Budget(
        train=(400, 4, 3),
        tune=40,
        test=(100, 4, 2),
        crop=64,
        clean=Schedule(16),
        attack=Schedule(20, learning_rate=2e-3),
        utility=12,
        replicates=400,
    ),
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
        An artefact of kind ``evaluation``: ``metrics.json`` and ``report.html``. ``metrics.json`` says
        ``valid: false`` and why if the attackers or the protocol failed their own controls.

    Raises:
        Refusal: the artefact has no optics, or faces or recogniser cannot be used.
    """
    if (faces is None) != (recogniser is None):
        missing = "--recogniser" if recogniser is None else "--faces"
        raise Refusal(f"photographs and their recogniser go together, {missing} is missing", "give both")
    if out is not None and out.exists():
        raise Refusal(f"{out} exists already", "artefacts are never changed: name another --out or remove it")
    optics = read_subject(subject)
    studies = [simulated_study(optics, budget, seed=seed, progress=progress)]
    if faces is not None and recogniser is not None:
        studies.append(photographed_study(optics, budget, faces, recogniser, seed=seed, progress=progress))
    unknown = range(TEST_PEOPLE, TEST_PEOPLE + JUDGED_ON)
    depression = judge_networks(subject, optics, unknown, seed=seed, progress=progress)
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

    def film(first: int, share: tuple[int, int, int]) -> Faces:
        people, sessions, frames = share
        who = range(first, first + people)
        return simulated_faces(who, sessions, frames, widths, seed=seed, size=size, progress=progress)

    train, test = film(TRAIN_PEOPLE, spend.train), film(TEST_PEOPLE, spend.test)
    unknown = train.people >= TRAIN_PEOPLE + spend.train[0] - spend.tune
    clean = clean_recogniser(train.take(~unknown), spend.crop, spend.clean, seed=seed, progress=progress)
    ground = Ground(
        train,
        test,
        [clean],
        clean,
        spend.attack,
        seed,
        tune=np.flatnonzero(unknown),
        shown=one_picture_each(test, 8),
        progress=progress,
    )
    return run_study(
        "simulated subjects",
        ground,
        optics,
        budget=budget,
        utility_epochs=spend.utility,
        replicates=spend.replicates,
    )


def photographed_study(
    optics: Subject,
    budget: str,
    folder: Path,
    model: Path,
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Study:
    """The ladder on photographs: attackers learn from half of the people and are tested on the others."""
    spend, known = BUDGETS[budget], OnnxRecogniser(model)
    widths, size = face_widths(optics.spec, optics.depths), optics.spec.sensor.binned_shape
    faces = photographed_faces(folder, widths, seed=seed, size=size)
    check_repeated(faces)
    people = np.random.default_rng(seed).permutation(np.unique(faces.people))
    learnt = np.isin(faces.people, people[: len(people) // 2])
    train, test = faces.take(learnt), faces.take(~learnt)
    # There are few pictures, and the network starts from nothing: many rounds over them.
    rounds = max(spend.attack.epochs, PHOTOGRAPHS_SEEN // len(train))
    ground = Ground(
        train,
        test,
        [known],
        known,
        replace(spend.attack, epochs=rounds),
        seed,
        tune=np.arange(len(train)),
        shown=one_picture_each(test, 8),
        progress=progress,
    )
    return run_study(
        f"photographs in {folder.name}",
        ground,
        optics,
        budget=budget,
        utility_epochs=0,
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
    return NetworkRecogniser(network.eval(), crop, "clean network")
