"""Subjects filmed once and kept in memory, at the size their distance gives them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from opticaldr.models.data import Shot, SimulatedSubjects, Take, film_all
from opticaldr.models.networks import FACTORS, mirror
from opticaldr.models.networks.parallel import each
from opticaldr.models.optics import OpticsSpec, face_width
from opticaldr.models.training.config import SubjectsConfig

Progress = Callable[[str, int, int], None]

TINT = 0.1
"""Standard deviation of the logarithm of each colour's gain when a picture is varied."""
_SWAPPED = torch.tensor([1, 0, 2, 4, 3])  # landmarks of a mirrored face: left and right change places


@dataclass(frozen=True)
class Pool:
    """Sessions of people: ``r`` sessions of ``t`` frames each.

    Attributes:
        frames: linear RGB scenes, float16 ``[r, t, 3, y, x]``.
        factors: ``[r, t, f]`` in the order of ``names``, raw units; NaN where unknown.
        subject: number of the person, int64 ``[r]``, from 0 within the pool, -1 where nobody says.
        view: index of the PSF through which the session is seen, int64 ``[r]``; as filmed, of its distance.
        score: BDI-II total, float32 ``[r]``.
        landmarks: eyes, tip of the nose and corners of the mouth (x, y) in pixels, float32 ``[r, t, 5, 2]``.
    """

    frames: Tensor
    factors: Tensor
    subject: Tensor
    view: Tensor
    score: Tensor
    landmarks: Tensor
    names: tuple[str, ...] = FACTORS

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def people(self) -> int:
        """How many people there are."""
        return len(torch.unique(self.subject[self.subject >= 0]))

    def sessions(self, chosen: Tensor) -> Self:
        """The chosen sessions, by mask or index; people keep their numbers."""
        return replace(
            self,
            frames=self.frames[chosen],
            factors=self.factors[chosen],
            subject=self.subject[chosen],
            view=self.view[chosen],
            score=self.score[chosen],
            landmarks=self.landmarks[chosen],
        )

    def draw(self, sessions: Tensor) -> tuple[Tensor, Tensor]:
        """Scenes ``[n, 3, y, x]`` and factors ``[n, f]`` of one frame of each session, as `draw_faces`."""
        scenes, factors, _ = self.draw_faces(sessions)
        return scenes, factors

    def draw_faces(self, sessions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame of each session ``[n]``, varied: mirrored and tinted at random.

        A few hundred people are few; what a network must not learn from them is varied away. Draws from
        torch's global generator.

        Returns:
            Scenes ``[n, 3, y, x]``, factors ``[n, f]`` and landmarks ``[n, 5, 2]``, float32; mirroring turns yaw, roll
            and gaze.
        """
        count = len(sessions)
        moment = each(lambda n: torch.randint(self.frames.shape[1], (n,)), count)
        scenes, factors = self.frames[sessions, moment].float(), self.factors[sessions, moment]
        mirrored = each(torch.rand, count) < 0.5
        scenes[mirrored] = scenes[mirrored].flip(-1)
        landmarks = self.landmarks[sessions, moment]
        turned = landmarks[:, _SWAPPED] * torch.tensor([-1.0, 1.0])
        turned[..., 0] += scenes.shape[-1] - 1
        landmarks = torch.where(mirrored[:, None, None], turned, landmarks)
        order, sign = mirror(self.names)
        factors = torch.where(mirrored[:, None], sign * factors[:, order], factors)
        tint = torch.exp(TINT * each(torch.randn, count, 3, 1, 1))
        return tint * scenes, factors, landmarks


def film(
    people: range,
    config: SubjectsConfig,
    spec: OpticsSpec,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Pool:
    """Film simulated subjects; session ``k`` of person ``p`` sits at distance ``(k + p) mod`` their number.

    Args:
        people: numbers of the subjects. Training and testing use disjoint people.
        config: sessions, frames, rate and distances.
        spec: gives size of frame and face.
        seed: of the subjects.
        progress: called as ``progress("subjects", done, total)``.
    """
    size = spec.sensor.binned_shape
    rows = [(person, session) for person in people for session in range(config.sessions)]
    at = [(session + person) % len(config.depths) for person, session in rows]
    frames = torch.empty(len(rows), config.frames, 3, *size, dtype=torch.float16)
    factors = torch.empty(len(rows), config.frames, len(FACTORS))
    score = torch.empty(len(rows))
    landmarks = torch.empty(len(rows), config.frames, 5, 2)

    shots = [
        Shot(person, session, Take(config.frames, config.fps, size, face_width(spec, config.depths[depth])))
        for (person, session), depth in zip(rows, at, strict=True)
    ]
    for row, clip in enumerate(film_all(SimulatedSubjects(seed), shots)):
        frames[row] = torch.from_numpy(clip.frames.astype(np.float16)).permute(0, 3, 1, 2)
        factors[row] = torch.from_numpy(np.stack([clip.factors[name] for name in FACTORS], axis=1))
        assert clip.score is not None
        assert clip.landmarks is not None
        score[row], landmarks[row] = clip.score, torch.from_numpy(clip.landmarks)
        progress("subjects", row + 1, len(rows))
    numbers = torch.tensor([person - people.start for person, _ in rows])
    return Pool(frames, factors, numbers, torch.tensor(at), score, landmarks)
