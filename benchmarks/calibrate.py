"""Calibration: time of the as-built fit, what the session's software adds to the exposures, and its memory.

The session's exposures are simulated time; the physics behind the simulated camera and board (the world's clock, the
optic, the noise) is timed apart and taken off, so that what is left is what a real bench would wait for.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figure import Figure, main
from opticaldr.calibration.calibrate import spot_of
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.fit import fit_as_built
from opticaldr.calibration.hdr import Merged, without_crosstalk
from opticaldr.calibration.hypothesis import View
from opticaldr.calibration.measure import measure
from opticaldr.calibration.pupil import forget_maps
from opticaldr.calibration.session import Session
from opticaldr.firmware_interface import Board
from opticaldr.hardware.as_built import PINHOLE, BuildErrors, Tolerances, build
from opticaldr.hardware.cameras.simulated import SimulatedCamera, point_response
from opticaldr.hardware.rig import load_rig
from opticaldr.models.optics import Optic, preset, zernike_height

SIDE = 128
DEPTHS = tuple(1 / np.linspace(1 / 0.4, 1 / 1.2, 5))
PLAN = Plan(depths=5, fields=9, exposures=3, frames=8)


def mask() -> Optic:
    """A mask as a design would order it, without symmetry."""
    spec = preset("clinic")
    terms = {4: 1e-6, 5: 1e-6, 6: 1.5e-6, 7: 2e-6, 8: 1.2e-6, 9: 2e-6, 11: 0.5e-6}
    return Optic(spec, zernike_height(terms, spec))


def peak_memory() -> float:
    """GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fit_seconds(design: Optic) -> float:
    """Wall seconds of the fit to five depths of three colours in windows of 128²."""
    rng = np.random.default_rng(1)
    errors = BuildErrors.draw(Tolerances(), rng)
    truth, spots = build(design, errors), []
    for depth in DEPTHS:
        raw = point_response(truth, depth, (0.0, 0.0), PINHOLE + errors.source).astype(np.float64)
        middle = slice((len(raw) - SIDE) // 2, (len(raw) + SIDE) // 2)
        clean = np.maximum(without_crosstalk(raw[middle, middle] * (1e4 / raw.max()), 0.02), 0)
        light = rng.poisson(clean) + 2.4 * rng.standard_normal(clean.shape)
        spots.append(Merged(light, np.maximum(light, 0) + 7.0))
    began = time.perf_counter()
    fit_as_built(design, [View(depth, (SIDE, SIDE)) for depth in DEPTHS], spots)
    return time.perf_counter() - began


class Physics:
    """Seconds spent behind the instruments: inside the simulated camera and board."""

    def __init__(self) -> None:
        self.seconds, self.exposed, self._inside = 0.0, 0.0, False

    def __enter__(self) -> "Physics":
        self._originals = [(owner, name, getattr(owner, name)) for owner, name in _INSTRUMENTS]
        for owner, name, original in self._originals:
            setattr(owner, name, self._timed(original, exposes=name == "capture"))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, original in self._originals:
            setattr(owner, name, original)

    def _timed(self, original: Callable[..., Any], *, exposes: bool) -> Callable[..., Any]:
        def timed(instrument: Any, *args: Any, **options: Any) -> Any:
            if self._inside:
                return original(instrument, *args, **options)
            self._inside, began = True, time.perf_counter()
            before = instrument.world.now if exposes else 0.0
            try:
                return original(instrument, *args, **options)
            finally:
                self._inside = False
                self.seconds += time.perf_counter() - began
                if exposes:
                    self.exposed += instrument.world.now - before

        return timed


_INSTRUMENTS = [
    (SimulatedCamera, "capture"),
    (SimulatedCamera, "__enter__"),
    *((Board, name) for name in ("home", "move_to", "shutter", "source", "info", "__enter__", "__exit__")),
]


def session(design: Optic) -> tuple[float, float]:
    """Seconds of our own software in a full session, merging included, and simulated seconds of frames."""
    with tempfile.TemporaryDirectory() as folder, Physics() as physics:
        began = time.perf_counter()
        with Session(Path(folder), {}) as kept:
            found = measure(design, load_rig("simulated"), PLAN, kept, 3, lambda *_: None)
        for arrays in found.spots:  # one at a time
            spot_of(arrays, found.sensor, design.spec)
        whole = time.perf_counter() - began
    return whole - physics.seconds, physics.exposed


def figures() -> list[Figure]:
    """Measure."""
    design = mask()
    software, exposed = session(design)
    held = peak_memory()
    seconds = fit_seconds(design)
    forget_maps()
    frames = PLAN.fields * PLAN.depths * PLAN.exposures * PLAN.frames * 2
    return [
        Figure("fit of 5 depths × 3 colours × 128²", seconds, "s", 60),
        Figure("software of a session, 9 × 5 × 3 × 8 frames and darks", software, "s"),
        Figure("frame time of the same", exposed, "s", peer=f"{frames} frames at 60 a second or slower"),
        Figure("software over frame time", 100 * software / exposed, "%", 10, peer="frame time"),
        Figure("peak memory of the session", held, "GiB"),
        Figure("peak memory, fit included", peak_memory(), "GiB"),
    ]


if __name__ == "__main__":
    main("calibrate", figures)
