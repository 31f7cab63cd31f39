"""Subjects filmed once and kept in memory, at the size their distance gives them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.networks import FACTORS
from opticaldr.models.optics import OpticsSpec, face_width
from opticaldr.models.training.capture import capture
from opticaldr.models.training.config import SubjectsConfig

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pool:
    """Sessions of people: ``r`` sessions of ``t`` frames each.

    Attributes:
        frames: linear RGB, float16 ``[r, t, 3, y, x]``: scenes, or what was captured of them.
        factors: ``[r, t, f]`` in the order of `FACTORS`, raw units.
        subject: number of the person, int64 ``[r]``, from 0 within the pool.
        depth: index of the distance at which the session was filmed, int64 ``[r]``.
        score: BDI-II total, float32 ``[r]``.
    """

    frames: Tensor
    factors: Tensor
    subject: Tensor
    depth: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def people(self) -> int:
        """How many people there are."""
        return int(self.subject.max()) + 1

    def sessions(self, chosen: Tensor) -> Self:
        """The chosen sessions, by mask or index; people keep their numbers."""
        return replace(
            self,
            frames=self.frames[chosen],
            factors=self.factors[chosen],
            subject=self.subject[chosen],
            depth=self.depth[chosen],
            score=self.score[chosen],
        )

    @torch.no_grad()
    def captured(self, bank: Tensor, spec: OpticsSpec) -> Self:
        """The same sessions as the camera sees them through PSFs ``[depth, colour, y, x]``."""
        frames = torch.empty_like(self.frames)
        for row, scenes in enumerate(self.frames):
            at = self.depth[row].expand(len(scenes))
            frames[row] = capture(scenes.float(), bank, at, spec.sensor).half()
        return replace(self, frames=frames)


def film(
    people: range,
    config: SubjectsConfig,
    spec: OpticsSpec,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Pool:
    """Film simulated subjects; session ``k`` of a person sits at the distance ``k`` modulo their number.

    Args:
        people: numbers of the subjects. Training, calibration of the score and testing use disjoint ranges.
        config: sessions, frames, rate and distances.
        spec: gives size of frame and face.
        seed: of the subjects.
        progress: called as ``progress("subjects", done, total)``.
    """
    stage = SimulatedSubjects(seed)
    size = spec.sensor.binned_shape
    depths = config.depths
    rows = [(person, session) for person in people for session in range(config.sessions)]
    at = [(session + person) % len(depths) for person, session in rows]
    frames = torch.empty(len(rows), config.frames, 3, *size, dtype=torch.float16)
    factors = torch.empty(len(rows), config.frames, len(FACTORS))
    score = torch.empty(len(rows))

    def one(row: int) -> int:
        person, session = rows[row]
        width = face_width(spec, depths[at[row]])
        clip = stage.clip(person, session, config.frames, size, width, fps=config.fps)
        frames[row] = torch.from_numpy(clip.frames.astype(np.float16)).permute(0, 3, 1, 2)
        factors[row] = torch.from_numpy(np.stack([clip.factors[name] for name in FACTORS], axis=1))
        assert clip.score is not None
        score[row] = clip.score
        return row

    with ThreadPoolExecutor(2) as crew:
        for done, _ in enumerate(crew.map(one, range(len(rows))), start=1):
            progress("subjects", done, len(rows))
    numbers = torch.tensor([person - people.start for person, _ in rows])
    return Pool(frames, factors, numbers, torch.tensor(at), score)
