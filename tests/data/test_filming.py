"""Clips filmed on all cores are the clips, in their order, whatever happens to the processes that film them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from opticaldr.models.data import Clip, Shot, SimulatedSubjects, Take, film_all

STAGE = SimulatedSubjects(5)
# A clip is larger than a pipe, so that a process waits until its own are asked for.
SHOTS = [
    Shot(person, session, Take(2, 2.0, (64, 64), 40.0, start=person))
    for person in range(5)
    for session in (0, 1)
]


@pytest.fixture(autouse=True)
def _in_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opticaldr.models.data.filming.FEW", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})


def crew() -> list[int]:
    """Processes that this one has started and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if (
                int(fields[1]) == os.getpid()
                and fields[0] != "Z"
                and "filming" in (place / "cmdline").read_text()
            ):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def require_true(clips: Iterator[Clip], shots: list[Shot] = SHOTS) -> None:
    for clip, shot in zip(clips, shots, strict=True):
        how = shot.take
        alone = STAGE.clip(
            shot.subject,
            shot.session,
            how.frames,
            how.size,
            how.face_width,
            fps=how.fps,
            start=how.start,
        )
        np.testing.assert_array_equal(clip.frames, alone.frames)
        np.testing.assert_array_equal(clip.landmarks, alone.landmarks)
        assert (clip.subject, clip.session, clip.score) == (alone.subject, alone.session, alone.score)
        assert clip.factors.keys() == alone.factors.keys()


def test_they_are_the_clips_that_one_process_films() -> None:
    clips = film_all(STAGE, SHOTS)
    first = next(clips)
    assert len(crew()) == 3
    require_true(iter([first, *clips]))
    assert not crew()


def test_what_a_killed_process_would_have_filmed_is_filmed_here() -> None:
    clips = film_all(STAGE, SHOTS)
    first = next(clips)
    for process in crew():
        os.kill(process, signal.SIGKILL)
    require_true(iter([first, *clips]))


def test_nothing_runs_on_where_nobody_looks_any_more() -> None:
    clips = film_all(STAGE, SHOTS)
    next(clips)
    clips.close()
    assert not crew()


def test_a_process_that_cannot_start_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opticaldr.models.data.filming._CREW", "raise SystemExit(1)")
    require_true(film_all(STAGE, SHOTS))


def test_a_bad_shot_fails_as_it_does_alone() -> None:
    with pytest.raises(ValueError, match="negative"):
        list(film_all(STAGE, [*SHOTS, Shot(-1, 0, SHOTS[0].take)]))


def test_a_few_are_filmed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opticaldr.models.data.filming.FEW", 1000)
    clips = film_all(STAGE, SHOTS)
    next(clips)
    assert not crew()
