"""Who is judged on: simulated subjects, whom everybody has, and photographs, which the user brings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.attackers import Ground
from opticaldr.models.evaluation.budgets import BUDGETS
from opticaldr.models.evaluation.faces import (
    Faces,
    Progress,
    check_repeated,
    face_widths,
    photographed_faces,
    simulated_faces,
)
from opticaldr.models.evaluation.recognisers import NetworkRecogniser, OnnxRecogniser
from opticaldr.models.evaluation.retraining import Schedule, train_recogniser
from opticaldr.models.evaluation.study import Study, run_study
from opticaldr.models.evaluation.subject import Subject
from opticaldr.models.evaluation.views import View
from opticaldr.models.networks import Recogniser as RecogniserNetwork

TEST_PEOPLE = 1_000_000
"""Number of the first simulated subject that is tested on; training, here and of designs, uses smaller
ones."""

TRAIN_PEOPLE = 500_000

PHOTOGRAPHS_SEEN = 6000
"""Pictures that a network trained on photographs sees, at the least, counting repetitions."""


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
        optics.spec.sensor,
        spend.attack,
        spend.crop,
        seed,
        tune=np.flatnonzero(unknown),
        shown=one_picture_each(test, 8),
        progress=progress,
    )
    return run_study(
        "simulated subjects",
        ground,
        optics,
        spend,
    )


def photographed_study(
    optics: Subject,
    budget: str,
    folder: Path,
    model: Path,
    controls: Sequence[View] = (),
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Study:
    """The ladder on photographs: attackers learn from half of the people and are tested on the others.

    Controls are those that were matched on simulated subjects: expressions in photographs are not known.
    """
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
        optics.spec.sensor,
        replace(spend.attack, epochs=rounds),
        spend.crop,
        seed,
        tune=np.arange(len(train)),
        shown=one_picture_each(test, 8),
        progress=progress,
    )
    return run_study(
        f"photographs in {folder.name}",
        ground,
        optics,
        replace(spend, utility=0),
        controls=controls,
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
