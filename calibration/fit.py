"""The as-built fit: which build of the design explains the spots that were measured at several depths.

Maximum a posteriori over the plate's decentre and rotation, the sensor's spacing and the surface's form error,
shared by all views; every view has a shift of its own, and each of the four planes of its Bayer cell a
brightness and a background, which enter linearly and are projected out (variable projection; Kaufman, BIT 15,
49, 1975). The prior is the workshop's tolerances: it decides only what the light leaves open, such as whether a
small tilt of the surface is decentre or form error. Levenberg–Marquardt from coarse to fine: the mosaics are
first compared in large blocks, where a spot that is wrong by many pixels still overlaps the measured one, then
in ever smaller ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.hdr import Merged
from opticaldr.calibration.linearised import SHARED, BuiltOptic, Plate, State, View
from opticaldr.calibration.photon_transfer import cells
from opticaldr.hardware.as_built import FORM_MODES, BuildErrors, Tolerances, build
from opticaldr.models.optics import Optic, OpticsSpec, noll_to_nm
from opticaldr.models.optics.geometry import pupil_mask, pupil_positions
from opticaldr.models.optics.path import fixed_path

Progress = Callable[[str, int, int], None]

MODEL_ERROR = 0.004
"""What the twin may be wrong by, as a fraction of the light in a pixel: keeps bright pixels from ruling alone."""

HALO_ERROR = 5e-4
"""The same as a fraction of the spot's peak: keeps the faint surroundings, measured a hundred times finer,
from ruling."""


@dataclass(frozen=True)
class _Level:
    """One stage of the fit.

    `block`: Bayer cells along the side of a block; `every`: each how manieth wavelength is computed;
    `model_error`: how far light is trusted; `steps`: most linearisations; `enough`: gain, as a fraction of χ²,
    below which the stage ends.
    """

    block: int
    every: int
    model_error: float
    steps: int
    enough: float


_LEVELS = (
    _Level(3, 3, 0.1, 12, 0.02),
    _Level(1, 3, 0.03, 8, 0.02),
    _Level(1, 1, MODEL_ERROR, 8, 0.03),
)
_CONFUSED = 0.95  # correlation


@dataclass(frozen=True)
class AsBuilt:
    """What was found.

    Attributes:
        optic: the design as it was built.
        parameters: value and standard error of each name of `SHARED` (metres, radians).
        state: the same with the spots' shifts.
        wavefront_error: standard error of the height map's form, metres RMS over the pupil.
        confused: pairs of parameters that the light cannot tell apart, with their correlation.
        residual: relative L2 difference between each measured spot and the fit, noise included.
        predicted: fitted mosaics [view, y, x] in electrons a second.
        steps: linearisations that were needed.
    """

    optic: Optic
    parameters: dict[str, tuple[float, float]]
    state: State
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
    tolerances: Tolerances | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> AsBuilt:
    """Find the build.

    Args:
        design: what was ordered.
        views: where each spot was.
        spots: its mosaic in the same window; NaN where nothing was measured.
        tolerances: how wrong the build may be; three times the simulated bench's by default.
        progress: told of every linearisation.
    """
    tolerances = tolerances or Tolerances(form=250e-9, decentre=75e-6, rotation=0.025, spacing=45e-6)
    plate = Plate.of(design)
    prior = _prior(tolerances, design.spec, len(views))
    state = _aimed(plate, views, spots)
    total, done = sum(level.steps for level in _LEVELS), 0
    for level in _LEVELS:
        problem = _Problem(plate, views, spots, prior, level)
        damping, cost = 1e-3, problem.cost(state)
        for _ in range(level.steps):
            progress("fit", done, total)
            done += 1
            normal, gradient = problem.linearise(state)
            trial, trial_cost = state, cost
            while trial_cost >= cost and damping < 1e6:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
                trial = state.moved(step * prior)
                trial_cost = problem.cost(trial)
                damping = max(damping / 9, 1e-9) if trial_cost < cost else damping * 9
            if trial_cost >= cost:
                break
            gained, state, cost = cost - trial_cost, trial, trial_cost
            if gained < level.enough * cost:
                break
    progress("fit", total, total)
    return _found(design, state, normal, problem, done)


def _aimed(plate: Plate, views: Sequence[View], spots: Sequence[Merged]) -> State:
    """Built as designed, every spot shifted so that its centroid is the measured one."""
    state = State.nominal(len(views))
    built = BuiltOptic(plate, state, views[0].side)
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
    position = 2.0 * np.arange(len(weight)) + 0.5
    return np.array([weight.sum(1) @ position, weight.sum(0) @ position]) / weight.sum()


def _prior(tolerances: Tolerances, spec: OpticsSpec, views: int) -> NDArray[np.float64]:
    """Standard deviations of all parameters."""
    weights = np.array([noll_to_nm(j)[0] ** -1.0 for j in FORM_MODES])
    form = tolerances.form * weights / np.sqrt(np.sum(weights**2))
    build = [tolerances.decentre, tolerances.decentre, tolerances.rotation, tolerances.spacing]
    shift = 20 * spec.sensor.pitch
    return np.concatenate([build, form, np.full(2 * views, shift)])


@dataclass(frozen=True)
class _Problem:
    """The measured spots in blocks of one size."""

    plate: Plate
    views: Sequence[View]
    spots: Sequence[Merged]
    prior: NDArray[np.float64]
    level: _Level

    def cost(self, state: State) -> float:
        """χ² of light and prior."""
        built = BuiltOptic(self.plate, state, self.views[0].side, every=self.level.every)
        cost = float(np.sum((state.vector / self.prior) ** 2))
        for index, view in enumerate(self.views):
            data, error = self._data(index)
            model = blocks(built.mosaic(index, view) * self._seen(index), self.level.block)
            for plane in range(4):
                residual, _ = _project(data[plane], model[plane], error[plane], None)
                cost += float(residual @ residual)
        return cost

    def linearise(self, state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Normal matrix and its right-hand side, prior included, for parameters in standard deviations of the prior."""
        built = BuiltOptic(self.plate, state, self.views[0].side, every=self.level.every)
        normal = np.eye(len(self.prior))
        right = -state.vector / self.prior
        shared = len(SHARED)
        for index, view in enumerate(self.views):
            data, error = self._data(index)
            mosaic, changes = built.mosaic_and_slopes(index, view)
            model = blocks(mosaic * self._seen(index), self.level.block)
            slopes = blocks(changes * self._seen(index), self.level.block)
            own = np.r_[np.arange(shared), shared + 2 * index, shared + 2 * index + 1]
            for plane in range(4):
                residual, jacobian = _project(data[plane], model[plane], error[plane], slopes[:, plane])
                jacobian *= self.prior[own, None]
                normal[np.ix_(own, own)] += jacobian @ jacobian.T
                right[own] += jacobian @ residual
        return normal, right

    def _seen(self, index: int) -> NDArray[np.bool_]:
        return np.isfinite(self.spots[index].rate)

    def _data(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Measured light in blocks and its standard error [plane, y, x]."""
        spot = self.spots[index]
        data = blocks(np.nan_to_num(spot.rate), self.level.block)
        variance = blocks(np.nan_to_num(spot.variance), self.level.block)
        worst = variance.max()  # for blocks where nothing was measured
        twin = (self.level.model_error * data) ** 2 + (HALO_ERROR * data.max()) ** 2
        error = np.sqrt(np.where(variance > 0, variance, worst) + twin)
        return data, error


def _project(
    data: NDArray[np.float64],
    model: NDArray[np.floating],
    error: NDArray[np.float64],
    slopes: NDArray[np.floating] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residual, and derivative of the prediction, in standard errors, free of brightness and background.

    Brightness and background are fitted to `model`; then their directions are taken out of residual and slopes.
    """
    weight = (1 / error).ravel()
    span = np.stack([model.ravel() * weight, weight], axis=1)
    basis, triangle = np.linalg.qr(span)
    target = data.ravel() * weight
    inner = basis.T @ target
    residual = target - basis @ inner
    if slopes is None:
        return residual, np.zeros((0, residual.size))
    brightness = np.linalg.solve(triangle, inner)[0]
    jacobian = slopes.reshape(len(slopes), -1) * (weight * brightness)
    jacobian = jacobian - (jacobian @ basis) @ basis.T
    return residual, jacobian


def blocks(mosaic: NDArray[np.floating], block: int) -> NDArray[np.float64]:
    """Light of each plane of the Bayer cell in blocks of `block`² cells: [..., plane, y, x]; an incomplete
    rim is left out."""
    planes = np.stack([mosaic[(..., *cell)] for cell in cells()], axis=-3).astype(np.float64)
    count = planes.shape[-1] // block
    first = (planes.shape[-1] - count * block) // 2
    kept = planes[..., first : first + count * block, first : first + count * block]
    return kept.reshape(*kept.shape[:-2], count, block, count, block).sum((-1, -3))


def _found(
    design: Optic, state: State, normal: NDArray[np.float64], problem: _Problem, steps: int
) -> AsBuilt:
    built = BuiltOptic(problem.plate, state, problem.views[0].side)
    covariance = np.linalg.inv(normal) * np.outer(problem.prior, problem.prior)
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
    for index, view in enumerate(problem.views):
        spot = problem.spots[index]
        prediction = brightened(built.mosaic(index, view), spot)
        off = np.nan_to_num(spot.rate - prediction)
        residuals.append(float(np.linalg.norm(off) / np.linalg.norm(np.nan_to_num(spot.rate))))
        predicted.append(prediction)
    return AsBuilt(
        optic=as_optic(design, state),
        parameters={
            name: (float(value), float(error))
            for name, value, error in zip(SHARED, state.shared, errors[:shared], strict=True)
        },
        state=state,
        wavefront_error=_form_uncertainty(design, state, covariance[:shared, :shared]),
        confused=confused,
        residual=residuals,
        predicted=np.stack(predicted),
        steps=steps,
    )


def brightened(mosaic: NDArray[np.floating], spot: Merged) -> NDArray[np.float64]:
    """A predicted mosaic with the brightness and background, plane by plane, that bring it nearest to `spot`."""
    prediction = np.zeros(mosaic.shape)
    for cell in cells():
        seen = np.isfinite(spot.rate[cell])
        span = np.stack([mosaic[cell][seen], np.ones(np.count_nonzero(seen))], axis=1)
        brightness, background = np.linalg.lstsq(span, spot.rate[cell][seen], rcond=None)[0]
        prediction[cell] = brightness * mosaic[cell] + background
    return prediction


def surface_difference(first: Optic, second: Optic) -> NDArray[np.float64]:
    """Height of `first` over `second` inside the stop, piston and tilt taken out [y, x], metres; NaN outside."""
    return _levelled(first.height - second.height, first.spec)


def wavefront_difference(
    first: Optic, second: Optic, depth: float, wavelength: float = 550e-9
) -> NDArray[np.float64]:
    """Optical path through `first` less the one through `second` for a point on axis, piston and tilt taken out.

    [y, x] in metres, NaN outside the stop. Unlike the surface alone it counts focus: the sensor's spacing and a
    defocus of the surface, which light can hardly tell apart, are one error here.
    """

    def path(optic: Optic) -> NDArray[np.float64]:
        refraction = optic.spec.mask.material.index(wavelength) - 1
        return refraction * optic.height + fixed_path(
            optic.spec, *pupil_positions(optic.spec), depth, (0.0, 0.0)
        )

    return _levelled(path(first) - path(second), first.spec)


def _levelled(surface: NDArray[np.float64], spec: OpticsSpec) -> NDArray[np.float64]:
    x, y = pupil_positions(spec)
    inside = pupil_mask(spec)
    plane = np.stack([np.ones(np.count_nonzero(inside)), x[inside], y[inside]], axis=1)
    flat = np.full(x.shape, np.nan)
    flat[inside] = surface[inside] - plane @ np.linalg.lstsq(plane, surface[inside], rcond=None)[0]
    return flat


def _form_uncertainty(design: Optic, state: State, covariance: NDArray[np.float64]) -> float:
    """Standard error of the whole height map, metres RMS over the stop, from the parameters' covariance."""
    thin = slice(None, None, max(1, design.spec.pupil.samples // 64))
    here = as_optic(design, state)
    slopes = []
    for name in SHARED:
        step = {"decentre x": 1e-6, "decentre y": 1e-6, "rotation": 1e-4, "spacing": 1e-6}.get(name, 1e-9)
        change = surface_difference(as_optic(design, state.nudged(name, step)), here)[thin, thin]
        slopes.append(change[np.isfinite(change)] / step)
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
        ),
    )
