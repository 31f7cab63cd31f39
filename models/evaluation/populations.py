"""Who is judged on: simulated subjects, whom everybody has, and photographs, which the user brings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.attackers import Attack, Ground
from opticaldr.models.evaluation.attackers.ladder import ladder_on_raw_frames
from opticaldr.models.evaluation.budgets import BUDGETS, NO_CLIPS, Budget
from opticaldr.models.evaluation.dynamic import dynamic_study
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
from opticaldr.models.evaluation.score import record
from opticaldr.models.evaluation.study import Study, require_known_faces, run_study
from opticaldr.models.evaluation.subject import WINDOW, Subject
from opticaldr.models.evaluation.views import View, mean_width
from opticaldr.models.networks import Recogniser as RecogniserNetwork
from opticaldr.models.optics import OpticsSpec

TEST_PEOPLE = 1_000_000
"""Number of the first simulated subject that is tested on; training, here and of designs, uses smaller
ones."""

TRAIN_PEOPLE = 500_000

PHOTOGRAPHS_SEEN = 6000
"""Pictures that a network trained on photographs sees, at the least, counting repetitions."""

FEWEST_PEOPLE = 4
"""On photographs: two to learn from and two to be tested on."""

PHOTOGRAPHED_CROP = 64
"""Least side of the faces that networks trained on photographs look at."""


def simulated_study(
    optics: Subject,
    budget: str,
    *,
    seed: int,
    dynamic: bool = False,
    attacks: Sequence[Attack] | None = None,
    clips: tuple[int, int] | None = None,
    start: Mapping[int, float] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Study:
    """The ladder on simulated subjects, with a recogniser trained here on clean ones.

    Args:
        optics: under test.
        budget: name of a budget.
        seed: of everything random.
        dynamic: whether random masks that change from frame to frame are attacked too.
        attacks: who attacks the lens; the budget's ladder if None.
        clips: people whose clips the score is learned from and tried on; the budget's if None.
        start: the surface that the lens was before it learned, Noll index to metres; a control of its own.
        progress: of long work.
    """
    beyond = []
    if dynamic:
        width = mean_width(optics.view.bank)
        beyond = dynamic_study(optics.spec, optics.depths, width, window=WINDOW, seed=seed)
    spend, recordings = BUDGETS[budget], None
    if (filmed := clips or spend.clips) != NO_CLIPS:
        first, second = (
            range(begin, begin + count)
            for begin, count in zip((TRAIN_PEOPLE, TEST_PEOPLE), filmed, strict=True)
        )
        widths, size = face_widths(optics.spec, optics.depths), optics.spec.sensor.binned_shape
        recordings = record(first, second, widths, seed=seed, size=size, progress=progress)
    further = {"attacks": attacks, "beyond": beyond, "recordings": recordings, "start": start}
    return _simulated(optics, spend, "simulated subjects", seed, progress, **further)


def raw_study(
    optics: Subject, budget: str, *, seed: int, progress: Progress = lambda stage, done, total: None
) -> Study:
    """Who holds the raw file has more pixels than what leaves the first layer of the network: A0, A1 and A3 on them.

    Fewer people than in `simulated_study`, because their pictures are larger.

    Args:
        optics: read with one colour pixel to each Bayer cell.
        budget: name of a budget.
        seed: of everything random.
        progress: of long work.
    """
    spend = BUDGETS[budget].on_raw_frames()
    return _simulated(optics, spend, "raw frames", seed, progress, attacks=ladder_on_raw_frames(budget))


def _simulated(
    optics: Subject, spend: Budget, population: str, seed: int, progress: Progress, **further: Any
) -> Study:
    widths = face_widths(optics.spec, optics.depths)
    size = optics.spec.sensor.binned_shape

    def film(first: int, share: tuple[int, int, int]) -> Faces:
        people, sessions, frames = share
        who = range(first, first + people)
        return simulated_faces(who, sessions, frames, widths, seed=seed, size=size, progress=progress)

    train, test = film(TRAIN_PEOPLE, spend.train), film(TEST_PEOPLE, spend.test)
    unknown = train.people >= TRAIN_PEOPLE + spend.train[0] - spend.tune
    crops = align(train.scenes, train.landmarks, spend.crop)[~unknown]
    clean = clean_recogniser(crops, train.people[~unknown], spend.clean, seed=seed, progress=progress)
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
    return run_study(population, ground, optics, spend, **further)


def photographed_ground(
    spec: OpticsSpec,
    depths: Sequence[float],
    budget: str,
    folder: Path,
    model: Path,
    *,
    detector: Path | None = None,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Ground:
    """Photographs and who attacks them: half of the people to learn from, the others to be tested on.

    Everything that is wrong with photographs or recogniser is found here, before anything long begins.

    Args:
        spec: what is known of the optics under test.
        depths: where people sit, metres.
        budget: name of a budget.
        folder: holds one folder of photographs per person.
        model: ONNX embedding network with its TOML.
        detector: finds the landmarks (see `find_landmarks`).
        seed: of the division of people, of depths and training.
        progress: of long work.

    Raises:
        Refusal: fewer than four people, photographs or a recogniser that cannot be used, or one that does not know the
            faces in clean pictures.
    """
    spend, known = BUDGETS[budget], OnnxRecogniser(model)
    widths, size = face_widths(spec, depths), spec.sensor.binned_shape
    faces = photographed_faces(folder, widths, seed=seed, size=size, detector=detector, progress=progress)
    check_repeated(faces)
    people = np.random.default_rng(seed).permutation(np.unique(faces.people))
    if len(people) < FEWEST_PEOPLE:
        raise Refusal(
            f"{folder} holds {len(people)} people",
            f"attackers learn from half of them: give at least {FEWEST_PEOPLE}",
        )
    learnt = np.isin(faces.people, people[: len(people) // 2])
    train, test = faces.take(learnt), faces.take(~learnt)
    # There are few pictures, and the network starts from nothing: many rounds over them.
    rounds = max(spend.attack.epochs, PHOTOGRAPHS_SEEN // len(train))
    ground = Ground(
        train,
        test,
        [known],
        known,
        spec.sensor,
        replace(spend.attack, epochs=rounds),
        max(spend.crop, PHOTOGRAPHED_CROP),
        seed,
        tune=np.arange(len(train)),
        shown=one_picture_each(test, 8),
        progress=progress,
    )
    require_known_faces(ground)
    return ground


def photographed_study(
    ground: Ground,
    optics: Subject,
    budget: str,
    name: str,
    controls: Sequence[View] = (),
    *,
    attacks: Sequence[Attack] | None = None,
    start: Mapping[int, float] | None = None,
) -> Study:
    """The ladder on photographs.

    Where the pictures' names tell smiles from neutral faces, controls are tuned to the lens's utility on them. Else
    they are those given, matched on simulated subjects.

    Args:
        ground: from `photographed_ground` of the same optics and budget.
        optics: under test.
        budget: name of a budget.
        name: what the report calls the photographs.
        controls: the optics to set the lens beside where expressions are not known.
        attacks: who attacks the lens; the budget's ladder if None.
        start: the surface that the lens was before it learned, Noll index to metres; a control where these are tuned.
    """
    rounds = ground.schedule.epochs
    return run_study(
        f"photographs in {name}",
        ground,
        optics,
        replace(BUDGETS[budget], utility=rounds if ground.train.factors else 0),
        controls=controls,
        attacks=attacks,
        start=start,
    )


def one_picture_each(faces: Faces, people: int) -> Any:
    """Indices of the first picture of the first few people."""
    return np.unique(faces.people, return_index=True)[1][:people]


def clean_recogniser(
    crops: FloatArray,
    people: NDArray[np.int64],
    schedule: Schedule,
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> NetworkRecogniser:
    """A recogniser trained on clean aligned faces ``[n, size, size, 3]``, remembered by their content."""
    crop = crops.shape[1]

    def compute() -> store.Arrays:
        network, _ = train_recogniser(
            crops, people, schedule, seed=seed, stage="train recogniser", progress=progress
        )
        return {name: value.numpy() for name, value in network.state_dict().items()}

    weights = store.remember(store.content_key("clean", crops, people, repr(schedule), seed), compute)
    network = RecogniserNetwork(size=crop)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return NetworkRecogniser(network.eval(), crop, "clean network")
