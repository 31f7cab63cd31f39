"""The as-built fit: which build of the design explains the spots that were measured at several depths.

Maximum a posteriori over what `likelihood` compares: the plate's decentre and rotation, the sensor's spacing, the
stop's diameter, the pinhole's, and the surface's form error, shared by all views. Levenberg–Marquardt from coarse to
fine: the mosaics are first compared in large blocks, where a spot that is wrong by many pixels still overlaps the
measured one, then in ever smaller ones. A linearisation costs twenty comparisons, so each serves several steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from opticaldr.calibration.hdr import Merged
from opticaldr.calibration.hypothesis import SHARED, STEP, Plate, State, View
from opticaldr.calibration.likelihood import MODEL_ERROR, Comparison, Likelihood, Slopes, blocks, brightened
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.hardware.as_built import (
    FORM_MODES,
    UNQUOTED,
    BuildErrors,
    Tolerances,
    build,
    form_deviations,
    form_error,
    plate_positions,
)
from opticaldr.models.optics import Optic, OpticsSpec
from opticaldr.models.optics.geometry import pupil_mask, pupil_positions
from opticaldr.models.optics.path import fixed_path

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Level:
    """One stage of the fit.

    `block`: Bayer cells along the side of a block; `every`: each how manieth wavelength is computed;
    `model_error`: how far light is trusted; `steps`: most linearisations; `enough`: expected gain in χ², as a
    fraction of it, below which the stage ends.
    """

    block: int
    every: int
    model_error: float
    steps: int
    enough: float


_LEVELS = (
    _Level(3, 3, 0.1, 12, 0.01),
    _Level(1, 3, 0.03, 8, 0.01),
    _Level(1, 1, MODEL_ERROR, 8, 0.0),
)
_REUSE = 6  # steps along one linearisation
_SETTLED = 0.05  # χ² still to be gained when the fit ends: far below the 1 that a standard error is worth
_CONFUSED = 0.95  # correlation


class Found(NamedTuple):
    """A parameter's value, its standard error, and the Cramér–Rao bound: the least error that photon and read noise
    allow anyone who knows the same tolerances (van Trees' form, prior included)."""

    value: float
    error: float
    bound: float


@dataclass(frozen=True)
class AsBuilt:
    """What was found.

    Attributes:
        optic: the design as it was built.
        parameters: what was found of each name of `SHARED` (metres, radians, fractions).
        state: the same with the spots' shifts.
        covariance: of the parameters' errors, in the order of `SHARED`.
        wavefront_error: standard error of the height map's form, metres RMS over the pupil.
        confused: pairs of parameters that the light cannot tell apart, with their correlation.
        residual: relative L2 difference between each measured spot and the fit, noise included.
        predicted: fitted mosaics [view, y, x] in electrons a second.
        steps: linearisations that were needed.
    """

    optic: Optic
    parameters: dict[str, Found]
    state: State
    covariance: NDArray[np.float64]
    wavefront_error: float
    confused: list[tuple[str, str, float]]
    residual: list[float]
    predicted: NDArray[np.float64]
    steps: int


def fit_as_built(
    design: Optic,
    views: Sequence[View],
    spots: Sequence[Merged],
    *,
    tolerances: Tolerances = UNQUOTED,
    progress: Progress = lambda stage, done, total: None,
) -> AsBuilt:
    """Find the build.

    Args:
        design: what was ordered.
        views: where each spot was.
        spots: its mosaic in the same window; NaN where nothing was measured.
        tolerances: standard deviations of the build's errors, as workshop and assembler quote them.
        progress: told of every linearisation.
    """
    plate = Plate.of(design)
    prior = _prior(tolerances, design.spec, len(views))
    state = _aimed(plate, views, spots)
    total, done = sum(level.steps for level in _LEVELS), 0
    for level in _LEVELS:
        about = state if level is _LEVELS[-1] else None
        likelihood = Likelihood(
            plate, views, spots, prior, level.block, level.every, level.model_error, about=about
        )
        here, damping = likelihood.compare(state), 1e-3
        for _ in range(level.steps):
            progress("fit", done, total)
            done += 1
            slopes = likelihood.linearise(state)
            before = here.cost
            state, here, damping = _descend(likelihood, slopes, state, here, damping, level.enough)
            if before - here.cost <= max(_SETTLED, level.enough * here.cost):
                break
    progress("fit", total, total)
    return _found(design, state, slopes, likelihood, done)


def _descend(
    likelihood: Likelihood, slopes: Slopes, state: State, here: Comparison, damping: float, enough: float
) -> tuple[State, Comparison, float]:
    """Levenberg–Marquardt steps along one linearisation, until it has no more to give."""
    prior, normal = likelihood.prior, slopes.normal
    for _ in range(_REUSE):
        downhill = slopes.descent(here, state, prior)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), downhill)
        if step @ downhill <= max(_SETTLED / 2, enough * here.cost / 2):
            break
        trial = state.moved(step * prior)
        there = likelihood.compare(trial)
        if there.cost < here.cost:
            state, here, damping = trial, there, max(damping / 9, 1e-9)
        else:
            damping *= 9
    return state, here, damping


def _aimed(plate: Plate, views: Sequence[View], spots: Sequence[Merged]) -> State:
    """Built as designed, every spot shifted so that its centroid is the measured one."""
    state = State.nominal(len(views))
    built = BuiltOptic(plate, state, views[0].shape)
    pitch = plate.spec.sensor.pitch
    shifts = [
        centroid(np.nan_to_num(spot.rate)) - centroid(built.mosaic(index, view))
        for index, (view, spot) in enumerate(zip(views, spots, strict=True))
    ]
    return replace(state, shifts=np.array(shifts)[:, ::-1] * pitch)


def centroid(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """Row and column of the centre of the light above a hundredth of its peak, in blocks of one Bayer cell,
    in pixels."""
    cells_of_light = blocks(light, 1).sum(0)
    weight = np.where(cells_of_light > 0.01 * cells_of_light.max(), cells_of_light, 0)
    rows, columns = (2.0 * np.arange(count) + 0.5 for count in weight.shape)
    return np.array([weight.sum(1) @ rows, weight.sum(0) @ columns]) / weight.sum()


def _prior(tolerances: Tolerances, spec: OpticsSpec, views: int) -> NDArray[np.float64]:
    """Standard deviations of all parameters."""
    plate = [tolerances.decentre, tolerances.decentre, tolerances.rotation]
    bench = [tolerances.spacing, tolerances.aperture, tolerances.source]
    shift = 20 * spec.sensor.pitch
    return np.concatenate([plate, bench, form_deviations(tolerances.form), np.full(2 * views, shift)])


def _found(design: Optic, state: State, slopes: Slopes, likelihood: Likelihood, steps: int) -> AsBuilt:
    built = BuiltOptic(likelihood.plate, state, likelihood.views[0].shape)
    scale = np.outer(likelihood.prior, likelihood.prior)
    covariance = np.linalg.inv(slopes.normal) * scale
    bound = np.sqrt(np.diag(np.linalg.inv(slopes.photons) * scale))
    errors = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(errors, errors)
    shared = len(SHARED)
    confused = [
        (SHARED[a], SHARED[b], float(correlation[a, b]))
        for a in range(shared)
        for b in range(a)
        if abs(correlation[a, b]) > _CONFUSED
    ]
    residuals, predicted = [], []
    for index, view in enumerate(likelihood.views):
        spot = likelihood.spots[index]
        prediction = brightened(built.mosaic(index, view), spot)
        off = np.nan_to_num(spot.rate - prediction)
        residuals.append(float(np.linalg.norm(off) / np.linalg.norm(np.nan_to_num(spot.rate))))
        predicted.append(prediction)
    return AsBuilt(
        optic=as_optic(design, state),
        parameters={
            name: Found(float(value), float(error), float(least))
            for name, value, error, least in zip(
                SHARED, state.shared, errors[:shared], bound[:shared], strict=True
            )
        },
        state=state,
        covariance=covariance[:shared, :shared],
        wavefront_error=_form_uncertainty(likelihood.plate, state, covariance[:shared, :shared]),
        confused=confused,
        residual=residuals,
        predicted=np.stack(predicted),
        steps=steps,
    )


def surface_difference(first: Optic, second: Optic) -> NDArray[np.float64]:
    """Height of `first` over `second` inside its stop, piston and tilt taken out [y, x], metres; NaN outside."""
    return _levelled(_on_grid(first, second) - second.height, second.spec)


def wavefront_difference(
    first: Optic, second: Optic, depth: float, wavelength: float = 550e-9
) -> NDArray[np.float64]:
    """Optical path through `first` less the one through `second` for a point on axis, piston and tilt taken out.

    [y, x] in metres on the second's grid, NaN outside its stop. Unlike the surface alone it counts focus: the sensor's
    spacing and a defocus of the surface, which light can hardly tell apart, are one error here.
    """
    x, y = pupil_positions(second.spec)

    def path(height: NDArray[np.float64], spec: OpticsSpec) -> NDArray[np.float64]:
        return (spec.mask.material.index(wavelength) - 1) * height + fixed_path(spec, x, y, depth, (0.0, 0.0))

    return _levelled(
        path(_on_grid(first, second), first.spec) - path(second.height, second.spec), second.spec
    )


def _on_grid(optic: Optic, other: Optic) -> NDArray[np.float64]:
    """The height map of `optic` at the points of the other's."""
    if optic.spec.pupil == other.spec.pupil:
        return optic.height
    where = plate_positions(optic.spec, *pupil_positions(other.spec), (0.0, 0.0), 0.0)
    height: NDArray[np.float64] = map_coordinates(optic.height, where, order=3, mode="nearest")
    return height


def _levelled(surface: NDArray[np.float64], spec: OpticsSpec) -> NDArray[np.float64]:
    x, y = pupil_positions(spec)
    inside = pupil_mask(spec)
    plane = np.stack([np.ones(np.count_nonzero(inside)), x[inside], y[inside]], axis=1)
    flat = np.full(x.shape, np.nan)
    flat[inside] = surface[inside] - plane @ np.linalg.lstsq(plane, surface[inside], rcond=None)[0]
    return flat


def _form_uncertainty(plate: Plate, state: State, covariance: NDArray[np.float64]) -> float:
    """Standard error of the whole height map, metres RMS over the stop, from the parameters' covariance."""
    spec = plate.spec
    thin = slice(None, None, max(1, spec.pupil.samples // 64))
    x, y = (position[thin, thin] for position in pupil_positions(spec))
    inside = pupil_mask(spec)[thin, thin]
    plane = np.stack([np.ones(np.count_nonzero(inside)), x[inside], y[inside]], axis=1)

    def surface(state: State) -> NDArray[np.float64]:
        decentre = (state["decentre x"], state["decentre y"])
        form = dict(zip(FORM_MODES, state.form.tolist(), strict=True))
        turned = plate.height(x, y, decentre, state["rotation"])
        return (turned + form_error(form, spec.pupil.diameter / 2, x, y))[inside]

    here = surface(state)
    slopes = []
    for name in SHARED:
        step = STEP.get(name, 1e-9)
        change = (surface(state.nudged(name, step)) - here) / step
        slopes.append(change - plane @ np.linalg.lstsq(plane, change, rcond=None)[0])
    stacked = np.stack(slopes)
    return float(np.sqrt(np.mean(np.sum(stacked * (covariance @ stacked), axis=0))))


def as_optic(design: Optic, state: State) -> Optic:
    """The optic that a hypothesis stands for."""
    return build(
        design,
        BuildErrors(
            form=dict(zip(FORM_MODES, state.form.tolist(), strict=True)),
            decentre=(state["decentre x"], state["decentre y"]),
            rotation=state["rotation"],
            spacing=state["spacing"],
            aperture=state["aperture"],
            source=state["source"],
        ),
    )
