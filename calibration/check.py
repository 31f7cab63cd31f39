"""The five-minute check in the clinic: is the camera still the one that was calibrated?

Dark frames and three depths, compared with what the as-built optic of the calibration predicts there, within the noise
of today's spots. Only brightness, background and place of each spot are free: where the source stands today is not
the camera's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.calibration import capture
from opticaldr.calibration.bank import colour_planes, without_background
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.first_look import LEAK_LIMIT
from opticaldr.calibration.fit import centroid
from opticaldr.calibration.gates import Gate, mosaic_ncc
from opticaldr.calibration.hdr import Bracket, Merged, merge, without_crosstalk
from opticaldr.calibration.hypothesis import SHARED, Plate, State, View
from opticaldr.calibration.likelihood import Likelihood, brightened
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.calibration.photon_transfer import SensorNoise
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Arrays
from opticaldr.errors import Refusal
from opticaldr.hardware.rig import RigSpec
from opticaldr.models.optics import Optic, OpticsSpec

Progress = Callable[[str, int, int], None]

PLAN = Plan(depths=3, exposures=2, frames=2, dark_frames=2)
_AIMING = 4  # Gauss–Newton steps
_NUDGE = 0.05  # pixels


@dataclass(frozen=True)
class Known:
    """What the check needs of a calibration.

    `design`: as ordered; `state`: as built; `noise`, `response`, `good`: the sensor; `brightness`: electrons a second
    per unit of source power, all colours [depth], at `depths`.
    """

    design: Optic
    state: State
    noise: SensorNoise
    response: NDArray[np.float32]
    good: NDArray[np.bool_]
    depths: NDArray[np.float64]
    brightness: NDArray[np.float64]
    shape: tuple[int, int]


def read_known(calibration: Artefact) -> Known:
    """Read a calibration for its check.

    Raises:
        Refusal: it was made by an older version that did not keep what a check needs.
    """
    if "designed.npz" not in calibration.manifest.files:
        raise Refusal(f"{calibration.path} holds no designed.npz", "calibrate again with this version")
    with np.load(calibration.file("designed.npz"), allow_pickle=False) as stored:
        design = Optic(OpticsSpec.model_validate_json(str(stored["spec"])), stored["height"])
    found = calibration.json("asbuilt.json")["parameters"]
    with np.load(calibration.file("flat.npz"), allow_pickle=False) as stored:
        response, good = stored["response"], stored["good"]
    with np.load(calibration.file("psf.npz"), allow_pickle=False) as stored:
        depths, brightness = stored["depths"], stored["scale"][:, 0].sum(-1)
        shape = stored["psf"].shape[-2:]
    state = State(np.array([found[name]["value"] for name in SHARED]), np.zeros((PLAN.depths, 2)))
    noise = SensorNoise.model_validate(calibration.json("noise.json"))
    return Known(design, state, noise, response, good, depths, brightness, shape)


def check(
    calibration: Artefact,
    rig: RigSpec,
    *,
    design: Artefact | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> list[Gate]:
    """Compare the bench of today with a calibration.

    Args:
        calibration: of this camera.
        rig: the bench.
        design: of a simulated bench: what the hidden optic is a build of; the calibration's design by default.
        seed: of a simulated bench.
        progress: told of every measurement.

    Raises:
        Refusal: the bench does not answer, no spot is seen, or the calibration cannot be used.
    """
    known = read_known(calibration)
    spec, total = known.design.spec, 1 + PLAN.depths
    optic = known.design if design is None else Optic.read(design.path)
    chosen = np.linspace(0, len(known.depths) - 1, PLAN.depths).round().astype(int)
    progress("check", 0, total)
    spots, views, bright = [], [], []
    with Rig(rig, design=optic, seed=seed) as bench:
        bench.go_to(float(known.depths[chosen[0]]))
        bench.seat(10_000)
        dark = capture.dark(bench, PLAN)
        progress("check", 1, total)
        for number, place in enumerate(chosen):
            reached = bench.go_to(float(known.depths[place]))
            arrays = capture.spot(bench, PLAN, reached, known.shape)
            spot = _merged(arrays, known)
            spots.append(spot)
            views.append(View(float(arrays["depth"]), known.shape))
            light, _ = without_background(colour_planes(spot, spec.sensor.bayer)[0])
            bright.append(float(light.sum() / arrays["power"] / known.brightness[place] - 1))
            progress("check", 2 + number, total)
    return _gates(known, dark, spots, views, bright)


def _gates(
    known: Known, dark: Arrays, spots: list[Merged], views: list[View], bright: list[float]
) -> list[Gate]:
    likelihood, state = _aimed(known, spots, views)
    residuals = likelihood.compare(state).residuals
    departure = max(float(np.sqrt(np.mean(np.square(part)))) for part in residuals)
    built = BuiltOptic(likelihood.plate, state, known.shape)
    alike = min(
        mosaic_ncc(spot.rate, brightened(built.mosaic(index, view), spot))
        for index, (view, spot) in enumerate(zip(views, spots, strict=True))
    )
    per_dn = known.noise.gain_e_per_dn / capture.HIGH_GAIN
    lift = float(np.median(dark["long"].astype(np.float64) - dark["read"])) * per_dn / capture.LONG
    leak = lift / max(known.noise.dark_current_e_per_s, 0.1)
    black = abs(float(np.median(dark["short"])) - known.noise.black_level_dn)
    again = "has the mask moved, or is it dirty? look, then calibrate again"
    return [
        Gate("light leak", leak, "at most", LEAK_LIMIT, "times the dark current calibrated", "close the housing"),
        Gate("black level", black, "at most", 2.0, "DN from the calibrated one", "calibrate again"),
        Gate("likeness to the calibrated optic (NCC)", alike, "at least", 0.98, "", again),
        Gate("departure from the calibrated optic", departure, "at most", 1.5, "standard errors RMS", again),
        Gate(
            "brightness", max(map(abs, bright)), "at most", 0.1, "of the calibrated one",
            "let the source warm up; clean mask and lens",
        ),
    ]  # fmt: skip


def _aimed(known: Known, spots: list[Merged], views: list[View]) -> tuple[Likelihood, State]:
    """The as-built optic with every spot moved to where it lies today; nothing else is free."""
    plate, pitch = Plate.of(known.design), known.design.spec.sensor.pitch
    built = BuiltOptic(plate, known.state, known.shape)
    shared = len(SHARED)
    free = np.full(shared + 2 * len(views), np.inf)  # no prior: what is not held is free
    places = []
    for index, (view, spot) in enumerate(zip(views, spots, strict=True)):

        def alone(place: NDArray[np.float64], view: View = view, spot: Merged = spot) -> NDArray[np.float64]:
            state = State(known.state.shared, place[None] * pitch)
            return np.concatenate(
                Likelihood(plate, [view], [spot], free[: shared + 2]).compare(state).residuals
            )

        place = (centroid(np.nan_to_num(spot.rate)) - centroid(built.mosaic(index, view)))[::-1]
        for _ in range(_AIMING):
            slopes = [
                (alone(place + step) - alone(place - step)) / (2 * _NUDGE) for step in _NUDGE * np.eye(2)
            ]
            place = place - np.linalg.lstsq(np.stack(slopes, axis=1), alone(place), rcond=None)[0]
        places.append(place)
    state = State(known.state.shared, np.array(places) * pitch)
    return Likelihood(plate, views, spots, free, about=state), state


def _merged(arrays: Arrays, known: Known) -> Merged:
    window = capture.window(arrays["corner"], known.shape)
    merged = merge(Bracket.of(arrays), known.noise, known.response[window], known.good[window])
    return Merged(without_crosstalk(merged.rate, known.design.spec.sensor.crosstalk), merged.variance)
