"""What a made mask will do to the light, against the design: PSF, modulation, efficiency, tolerance."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.fabrication.process import Process, Wave
from opticaldr.hardware.fabrication.relief import Heights, Relief
from opticaldr.models.optics import Optic, OpticsSpec, face_width, psf, psf_bank
from opticaldr.models.optics.metrics import ncc

Progress = Callable[[str, int, int], None]

BAND = (4.0, 32.0)
"""Cycles per face width. People recognise faces at 8 to 13 (R. Näsänen, Vision Research 39, 3824 (1999));
networks also use finer detail, so the band is this project's choice and wider."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def as_optic(relief: Relief, spec: OpticsSpec, *, stepped: bool) -> Optic:
    """The part of ``relief`` over the pupil, as an optic on the relief's own pixels.

    Args:
        relief: its pixels divide the pupil's diameter evenly.
        spec: the optics with the mask's material.
        stepped: whether heights jump from pixel to pixel (wrapped or quantised) and must not be interpolated.
    """
    samples = round(spec.pupil.diameter / relief.pitch)
    pupil = spec.pupil.model_copy(update={"samples": samples})
    changes = {"surface": "pixel" if stepped else spec.mask.surface, "wrap": None, "levels": None}
    mask = spec.mask.model_copy(update=changes)
    return Optic(spec.model_copy(update={"pupil": pupil, "mask": mask}), relief.cropped(samples).height)


def sampled_depths(spec: OpticsSpec) -> tuple[float, float, float]:
    """Nearest, middle (halfway in 1/depth) and farthest depth of the scene, metres."""
    near, far = spec.scene.near, spec.scene.far
    return near, 2 / (1 / near + 1 / far), far


def window(optic: Optic) -> tuple[int, int]:
    """An odd window in superpixels that holds the rays of ``optic`` at every depth of its scene.

    Rays land where the slope of the mask and the defocus send them; the window is as wide as the 99th
    percentile of that and a few Airy radii, at least 9 and at most the sensor.
    """
    spec = optic.spec
    index = spec.mask.material.index(min(spec.sensor.wavelengths))
    relief = Relief(optic.height, spec.pupil.pitch, spec.pupil.diameter / 2, spec.pupil.shape == "square")
    inside = relief.aperture()
    axis = relief.axis()
    focus = 1 / spec.lens.focus if spec.lens is not None else -1 / spec.sensor_distance
    reach = 0.0
    for depth in sampled_depths(spec):
        for along in (0, 1):
            tilt = (index - 1) * np.gradient(optic.height, relief.pitch, axis=along)
            tilt += (1 / depth - focus) * (axis[:, np.newaxis] if along == 0 else axis)
            reach = max(reach, float(np.percentile(np.abs(tilt[inside]), 99)) * spec.sensor_distance)
    airy = 1.22 * max(spec.sensor.wavelengths) * spec.sensor_distance / spec.pupil.diameter
    side = 2 * int(np.ceil((reach + 3 * airy) / spec.sensor.superpixel)) + 3
    most = min(spec.sensor.binned_shape)
    side = max(9, min(side, most - 1 + most % 2))
    return side, side


def band_energy(psf: NDArray[np.floating], face: float, band: tuple[float, float] = BAND) -> float:
    """Mean squared MTF between ``band`` cycles per face width: what a recogniser has to go on.

    Args:
        psf: ``[..., y, x]``; the mean is also over all leading axes.
        face: width of a face in pixels of the PSF.
        band: lowest and highest frequency, cycles per face width; cut at the Nyquist frequency.
    """
    size = 2 * max(psf.shape[-2:])
    spectrum = np.fft.rfft2(psf, s=(size, size))
    mtf = np.abs(spectrum) / np.abs(spectrum[..., :1, :1])
    frequency = np.hypot(np.fft.fftfreq(size)[:, np.newaxis], np.fft.rfftfreq(size)) * face
    inside = (frequency >= band[0]) & (frequency <= band[1])
    return float(np.mean(mtf[..., inside] ** 2))


def efficiency(made: Optic, design: Heights, wave: Wave, orders: int | None) -> NDArray[np.float64]:
    """Share of the light at each sensor wavelength that goes into the wave the design asks for.

    η = |⟨exp i(φ_made − φ_wanted)⟩|² over the pupil. For a wrapped relief the wanted wave is its diffraction
    order ``orders``, whose phase is the same at all wavelengths; otherwise it is the design's own phase.

    Args:
        made: the made mask.
        design: the continuous heights on the same pixels, metres.
        wave: the light the mask is made for.
        orders: waves of depth the relief wraps at, or nothing if it does not wrap.
    """
    spec = made.spec
    relief = Relief(made.height, spec.pupil.pitch, spec.pupil.diameter / 2, spec.pupil.shape == "square")
    inside = relief.aperture()
    shares = []
    for wavelength in spec.sensor.wavelengths:
        per_metre = 2 * np.pi * (spec.mask.material.index(wavelength) - 1) / wavelength
        wanted = per_metre * design if orders is None else 2 * np.pi / wave.depth * design
        shares.append(np.abs(np.mean(np.exp(1j * (per_metre * made.height - wanted)[inside]))) ** 2)
    return np.array(shares)


def detunings(spec: OpticsSpec, wave: Wave) -> NDArray[np.float64]:
    """α = h₂π(λ₀)/h₂π(λ) at every sensor wavelength."""
    return np.array(
        [
            wave.depth * (spec.mask.material.index(wavelength) - 1) / wavelength
            for wavelength in spec.sensor.wavelengths
        ]
    )


@dataclass(frozen=True)
class Prediction:
    """PSFs of the design and of the made mask in one window.

    ``design`` and ``made`` are ``[depth, colour, y, x]`` energy fractions; ``band_design`` and ``band_made``
    the band energy at each depth.
    """

    depths: tuple[float, ...]
    design: NDArray[np.float64]
    made: NDArray[np.float64]
    band_design: tuple[float, ...]
    band_made: tuple[float, ...]

    @property
    def ncc(self) -> NDArray[np.float64]:
        """Correlation of made with design, ``[depth, colour]``."""
        return ncc(self.design, self.made)


def predict(design: Optic, made: Optic, progress: Progress = silent) -> Prediction:
    """Both PSF banks at the scene's nearest, middle and farthest depth."""
    depths = sampled_depths(design.spec)
    shape = window(design)
    banks: list[NDArray[np.float64]] = []
    for number, optic in enumerate((design, made)):
        height = optic.height.astype(np.float32)  # changes a PSF by less than 1e-6, in half the time
        rows = []
        for k, depth in enumerate(depths):
            progress("predicting PSFs", number * len(depths) + k, 2 * len(depths))
            rows.append(psf_bank(height, optic.spec, [depth], shape=shape)[0].astype(np.float64))
        banks.append(np.stack(rows))
    progress("predicting PSFs", 2 * len(depths), 2 * len(depths))

    def band(bank: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(
            band_energy(one, face_width(design.spec, depth)) for one, depth in zip(bank, depths, strict=True)
        )

    return Prediction(depths, banks[0], banks[1], band(banks[0]), band(banks[1]))


@dataclass(frozen=True)
class Tolerance:
    """Spread over parts, ``[part]``: correlation with the design's PSF, and energy in the recognisers' band.

    ``ncc`` is the worst over the colours; both at the scene's middle depth.
    """

    ncc: NDArray[np.float64]
    band: NDArray[np.float64]
    band_design: float


def tolerance(
    process: Process,
    drawn: Relief,
    wave: Wave,
    design: Optic,
    spec: OpticsSpec,
    parts: int,
    seed: int,
    progress: Progress = silent,
) -> Tolerance:
    """Make ``parts`` masks (one or more) with the process's random errors and look through each.

    Every part has a random stream of its own, so the result depends on ``seed`` alone and not on the number
    of threads. Each colour is represented by the wavelength it sees most of.
    """
    depth = sampled_depths(design.spec)[1]
    shape = window(design)
    lights = [
        spec.sensor.wavelengths[k]
        for k in dict.fromkeys(np.argmax(design.spec.spectral_weights, axis=1).tolist())
    ]
    face = face_width(design.spec, depth)

    def look(optic: Optic) -> NDArray[np.float64]:
        height = optic.height.astype(np.float32)
        return np.asarray(psf(height, optic.spec, lights, depth, shape=shape), dtype=np.float64)

    wanted = look(design)
    streams = np.random.default_rng(seed).spawn(parts)

    def part(number: int) -> tuple[float, float]:
        made = process.made(drawn, wave, streams[number])
        seen = look(as_optic(made, spec, stepped=process.wrapped))
        return float(ncc(wanted, seen).min()), band_energy(seen, face)

    results = {0: part(0)}  # alone, because it fills the twin's caches for the others
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        jobs = {pool.submit(part, number): number for number in range(1, parts)}
        for job in as_completed(jobs):
            results[jobs[job]] = job.result()
            progress("making parts", len(results), parts)
    columns = np.array([results[number] for number in range(parts)]).T
    return Tolerance(columns[0], columns[1], band_energy(wanted, face))


def quantiles(values: NDArray[np.float64], at: Sequence[float] = (0.05, 0.5, 0.95)) -> list[float]:
    """Quantiles as plain numbers; empty if there are no values."""
    return [float(q) for q in np.quantile(values, at)] if len(values) else []
