"""Is the stage fair? Two figures about clean simulated subjects, with no lens in between.

If a recogniser could not tell the people apart on clean pictures, or nobody could read the score from clean
clips, then privacy and utility measured on them would mean nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.depression import (
    Clips,
    Window,
    constant_score,
    embed_clips,
    estimate,
    film_clips,
    train_head,
)
from opticaldr.models.evaluation.descent import descend
from opticaldr.models.evaluation.faces import Progress, simulated_faces
from opticaldr.models.evaluation.populations import TEST_PEOPLE, TRAIN_PEOPLE, clean_recogniser
from opticaldr.models.evaluation.retraining import Schedule
from opticaldr.models.evaluation.utility import SIDEWAYS, regression
from opticaldr.models.evaluation.verification import Embedded, measure
from opticaldr.models.networks import FACTORS, Compact, FactorScale

WIDTHS = [87.0, 58.0, 39.0]
"""Face widths in pixels: what the clinic camera sees between 0.4 and 0.9 m."""


@dataclass(frozen=True)
class Effort:
    """How much is filmed and how long is trained."""

    faces: int = 160
    clips: int = 140
    test: int = 60
    sessions: int = 4
    recogniser: Schedule = field(default_factory=lambda: Schedule(14))
    frame_steps: int = 1200
    head_steps: int = 500


def stage_figures(
    *,
    seed: int = 0,
    effort: Effort | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Measure both figures on people that nothing was trained on.

    Args:
        seed: of subjects, weights and intervals.
        effort: how much is spent.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        ``recogniser_auc`` (goal 0.98 or more) and ``mae_reduction`` (goal 0.25 or more: by which fraction the
        head's error lies below the constant predictor's), each with ``…_interval``; ``recogniser`` and
        ``head`` with all figures as ``[value, low, high]``; ``fair``: whether both goals are met.
    """
    effort = effort or Effort()
    recognition = recognise_clean(effort, seed, progress)
    score = read_clean_clips(effort, seed, progress)
    auc, reduction = recognition["auc"], score["mae_reduction"]
    return {
        "recogniser_auc": auc[0],
        "recogniser_auc_interval": auc[1:],
        "mae_reduction": reduction[0],
        "mae_reduction_interval": reduction[1:],
        "fair": auc[0] >= 0.98 and reduction[0] >= 0.25,
        "recogniser": recognition,
        "head": score,
    }


def recognise_clean(effort: Effort, seed: int, progress: Progress) -> dict[str, list[float]]:
    """Verification between sessions of unseen people, by a recogniser trained on clean pictures of others."""
    train = simulated_faces(
        range(TRAIN_PEOPLE, TRAIN_PEOPLE + effort.faces), 3, 3, WIDTHS, seed=seed, progress=progress
    )
    test = simulated_faces(
        range(TEST_PEOPLE, TEST_PEOPLE + effort.test),
        effort.sessions,
        2,
        WIDTHS,
        seed=seed,
        progress=progress,
    )
    crops = align(train.scenes, train.landmarks, 48)
    recogniser = clean_recogniser(crops, train.people, effort.recogniser, seed=seed, progress=progress)
    faces = Embedded(recogniser.embed(test.scenes, test.landmarks), test.people, test.sessions)
    return {name: figure.json() for name, figure in measure(faces, faces, seed=seed).items()}


def read_clean_clips(effort: Effort, seed: int, progress: Progress) -> dict[str, list[float]]:
    """Error of a head over clean clips of unseen people, beside the constant predictor's."""
    window = Window()
    first = range(TRAIN_PEOPLE, TRAIN_PEOPLE + effort.clips)
    train = film_clips(first, effort.sessions, window, WIDTHS, seed=seed, progress=progress)
    test = film_clips(
        range(TEST_PEOPLE, TEST_PEOPLE + effort.test),
        effort.sessions,
        window,
        WIDTHS,
        seed=seed,
        progress=progress,
    )
    network = train_frames(train, effort.frame_steps, seed, progress)
    head = train_head(embed_clips(network, train), train, effort.head_steps, seed, progress)
    constant = constant_score(TRAIN_PEOPLE, seed)
    estimates = estimate(head, embed_clips(network, test), test, constant)
    return {name: figure.json() for name, figure in regression(estimates, seed=seed).items()}


def train_frames(clips: Clips, steps: int, seed: int, progress: Progress, batch: int = 48) -> Compact:
    """Train the frame network to read all factors off clean frames, half of them mirrored."""
    factors = torch.from_numpy(clips.factors)
    truth = FactorScale.of(factors).standardise(factors)
    mirror = torch.tensor([-1.0 if name in SIDEWAYS else 1.0 for name in FACTORS])
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Compact(size=clips.frames.shape[2]).to(memory_format=torch.channels_last)

        def losses() -> Iterator[torch.Tensor]:
            for _ in range(steps):
                row, moment = rng.integers(len(truth), size=batch), rng.integers(truth.shape[1], size=batch)
                frames = torch.from_numpy(clips.frames[row, moment].astype(np.float32)).permute(0, 3, 1, 2)
                goal = truth[row, moment]
                if rng.random() < 0.5:
                    frames, goal = frames.flip(-1), goal * mirror
                yield (network.factors(network(frames)) - goal).square().mean()

        def tell(step: int) -> None:
            progress("train frame network", step, steps)

        descend(network, losses(), steps=steps, rate=3e-3, decay=1e-2, progress=tell)
    return network
