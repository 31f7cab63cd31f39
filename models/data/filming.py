"""Many clips of simulated subjects, filmed on all cores.

Drawing a face is many small steps of Python, which threads would take in turn. Each core therefore gets a process of
its own; it ends with its pipe, so that none outlives whoever asked.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass

import cv2

from opticaldr.models.data.clips import Clip
from opticaldr.models.data.dataset import Take
from opticaldr.models.data.subjects import SimulatedSubjects

FEW = 400
"""Frames that are drawn, in about two seconds, before other processes would have been of help."""

_CREW = "from opticaldr.models.data.filming import _serve; _serve()"


@dataclass(frozen=True)
class Shot:
    """Who is filmed, in which session, and how it is wanted."""

    subject: int
    session: int
    take: Take


def film_all(stage: SimulatedSubjects, shots: Sequence[Shot]) -> Iterator[Clip]:
    """The clips of all shots, one after another, in their order; as `SimulatedSubjects.clip` makes them."""
    crew = min(len(os.sched_getaffinity(0)), len(shots))
    if crew < 2 or sum(shot.take.frames for shot in shots) < FEW:
        yield from (_clip(stage, shot) for shot in shots)
        return
    with ExitStack() as ended:
        cameras = []
        for first in range(crew):
            process = subprocess.Popen(
                [sys.executable, "-c", _CREW],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for whoever asked
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            ended.enter_context(process)
            ended.callback(process.kill)
            cameras.append(process)
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as asked:  # gone already: its shots are taken below
                pickle.dump((stage, shots[first::crew]), asked)
        for index, shot in enumerate(shots):
            yield _received(cameras[index % crew]) or _clip(stage, shot)


def _received(camera: subprocess.Popen[bytes]) -> Clip | None:
    """The next clip of a process; None once it has ended, whatever the reason: out of memory, or a bad shot."""
    assert camera.stdout is not None
    try:
        clip: Clip = pickle.load(camera.stdout)
    except (EOFError, pickle.UnpicklingError, OSError):
        return None
    return clip


def _clip(stage: SimulatedSubjects, shot: Shot) -> Clip:
    return stage.clip(shot.subject, shot.session, **asdict(shot.take))


def _serve() -> None:
    """Film what standard input asks for, onto standard output."""
    cv2.setNumThreads(1)
    stage, shots = pickle.load(sys.stdin.buffer)
    for shot in shots:
        pickle.dump(_clip(stage, shot), sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
        sys.stdout.buffer.flush()
