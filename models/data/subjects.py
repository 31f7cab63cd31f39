"""Simulated subjects: the embedded stage on which everything can be tested without a camera or a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import Clip
from opticaldr.models.data.dynamics import Track, draw_score, draw_session, sample_session
from opticaldr.models.data.identity import Identity, draw_identity
from opticaldr.models.data.rendering import render
from opticaldr.models.data.setting import Setting, draw_setting

# Independent streams of one seed: none of them can influence another.
_IDENTITY, _SCORE, _SETTING, _BEHAVIOUR = range(4)


@dataclass(frozen=True)
class SimulatedSubjects:
    """Endless people in endless sessions, each a pure function of ``(seed, subject, session)``.

    Identity depends on the subject alone. Score, setting (light, background, clothes, place in the frame)
    and behaviour are drawn anew for every session from streams of their own, so who somebody is tells
    nothing about the score; only behaviour does. It is a stage for testing, without clinical meaning.
    """

    seed: int = 0

    def identity(self, subject: int) -> Identity:
        """The looks of a subject, the same in all sessions."""
        return draw_identity(self._rng(_IDENTITY, subject))

    def score(self, subject: int, session: int) -> int:
        """The BDI-II total (0 to 63) that drives the behaviour of this session."""
        return draw_score(self._rng(_SCORE, subject, session))

    def setting(self, subject: int, session: int) -> Setting:
        """Light, background, clothes and place in the frame of this session."""
        return draw_setting(self._rng(_SETTING, subject, session))

    def behaviour(self, subject: int, session: int, times: NDArray[np.float64]) -> Track:
        """How the subject moves at the given times (seconds into the session), one array ``[t]`` per factor.

        The factors are those of `dynamics.draw_session`; a session lasts 120 s and then repeats.
        """
        track = draw_session(self._rng(_BEHAVIOUR, subject, session), self.score(subject, session))
        return sample_session(track, times)

    def clip(
        self,
        subject: int,
        session: int,
        frames: int,
        size: tuple[int, int] = (112, 112),
        face_width: float = 60.0,
        *,
        fps: float = 30.0,
        start: float = 0.0,
    ) -> Clip:
        """Film a subject.

        Args:
            subject: number of the person, from 0.
            session: number of the recording, from 0.
            frames: how many frames.
            size: rows and columns of a frame.
            face_width: width of an average face (160 mm) in pixels; it alone sets the scale.
            fps: frames per second.
            start: where in the session the clip begins, in seconds.
        """
        factors = self.behaviour(subject, session, start + np.arange(frames) / fps)
        images, landmarks = render(
            self.identity(subject), self.setting(subject, session), factors, size, face_width
        )
        score = self.score(subject, session)
        return Clip(images, f"s{subject:04d}", f"{session}", score, fps, factors, landmarks)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))
