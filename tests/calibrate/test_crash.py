"""Killed at any moment, a session goes on where it was and ends with the very numbers of one that was left alone."""

import hashlib
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from opticaldr.calibration.bank import make_bank
from opticaldr.calibration.calibrate import spot_of
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.measure import Measured, measure
from opticaldr.calibration.session import Session
from opticaldr.hardware.rig import load_rig
from opticaldr.models.optics import Optic

PLAN = Plan(depths=2, exposures=2, frames=1, dark_frames=2, flats=4)


def run(optic: Optic, folder: Path, plan: Plan) -> Measured:
    with Session(folder, {}) as session:
        return measure(optic, load_rig("simulated"), plan, session, 3, lambda *_: None)


def bank_of(optic: Optic, found: Measured):
    spots = [spot_of(arrays, found.sensor, optic.spec) for arrays in found.spots]
    fields, depths = len(found.fields), len(found.depths)
    return make_bank(
        np.array(spots, dtype=object).reshape(fields, depths).T,
        list(found.depths),
        found.fields,
        np.reshape([a["power"] for a in found.spots], (fields, depths)).T,
        np.reshape([a["corner"] for a in found.spots], (fields, depths, 2)).swapaxes(0, 1),
        np.zeros((depths, 2)),
        bayer=optic.spec.sensor.bayer,
        sensor_shape=optic.spec.sensor.shape,
    )


def finished(folder: Path) -> dict[str, tuple[int, str]]:
    """Inode and content of every finished measurement: a repeated one would have another inode."""
    return {
        path.name: (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.glob("[!.]*.npz")
    }


def life(optic: Optic, folder: Path, plan: Plan, seconds: float) -> bool:
    """Let a process of its own work on the session for so long, then kill -9 it; whether it was done before."""
    child = os.fork()
    if child == 0:
        try:
            run(optic, folder, plan)
        finally:
            os._exit(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def crash_and_resume(optic: Optic, folder: Path, plan: Plan, kills: int) -> None:
    began = time.monotonic()
    left_alone = run(optic, folder / "left alone", plan)
    whole = time.monotonic() - began
    expected = bank_of(optic, left_alone)
    moments, killed, sessions = random.Random(0), 0, 0
    while killed < kills:
        work = folder / f"session {sessions}"
        sessions += 1
        kept: dict[str, tuple[int, str]] = {}
        while not life(optic, work, plan, moments.uniform(0, whole)):
            killed += 1
            now = finished(work)
            assert kept.items() <= now.items()  # nothing lost, nothing measured again
            kept = now
        resumed = run(optic, work, plan)
        assert kept.items() <= finished(work).items()
        found = bank_of(optic, resumed)
        assert all(np.array_equal(value, getattr(expected, name)) for name, value in vars(found).items())


@pytest.mark.proves("CALIBRATION-3")
def test_killed_a_few_times(small, tmp_path):
    crash_and_resume(small, tmp_path, PLAN, 2)


@pytest.mark.proves("CALIBRATION-3")
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_a_hundred_times(small, tmp_path):
    crash_and_resume(small, tmp_path, PLAN.model_copy(update={"fields": 5}), 100)
