"""The optics drawn for people: height map, phase, PSFs and MTF as matplotlib figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.geometry import pupil_mask
from opticaldr.models.optics.metrics import mtf
from opticaldr.models.optics.psf import psf, psf_bank
from opticaldr.models.optics.specs import COLOURS, OpticsSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_height(height: NDArray[np.floating], spec: OpticsSpec) -> "Figure":
    """The mask's relief in micrometres: from above, and the two sections through its middle."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    above, section = figure.subplots(1, 2)
    micrometres = np.where(pupil_mask(spec), height, np.nan) * 1e6
    half = spec.pupil.diameter / 2 * 1e3
    shown = above.imshow(micrometres, extent=(-half, half, half, -half), cmap="viridis")
    figure.colorbar(shown, ax=above, label="height (µm)")
    _label_pupil(above, "Height map")
    axis = np.linspace(-half, half, spec.pupil.samples)
    section.plot(axis, micrometres[spec.pupil.samples // 2], label="along x")
    section.plot(axis, micrometres[:, spec.pupil.samples // 2], label="along y")
    section.set(title="Sections", xlabel="position (mm)", ylabel="height (µm)")
    section.legend()
    return figure


def draw_phase(height: NDArray[np.floating], spec: OpticsSpec) -> "Figure":
    """The phase that the mask gives to the middle wavelength of each colour, modulo one wave."""
    from matplotlib.figure import Figure

    wavelengths = _colour_wavelengths(spec)
    figure = Figure(figsize=(3.4 * len(wavelengths), 3.6), layout="constrained")
    inside = pupil_mask(spec)
    half = spec.pupil.diameter / 2 * 1e3
    for axes, wavelength in zip(
        figure.subplots(1, len(wavelengths), squeeze=False)[0], wavelengths, strict=True
    ):
        waves = (spec.mask.material.index(wavelength) - 1) * height / wavelength
        shown = axes.imshow(
            np.where(inside, waves % 1, np.nan),
            extent=(-half, half, half, -half),
            cmap="twilight",
            vmin=0,
            vmax=1,
        )
        _label_pupil(axes, f"Phase at {wavelength * 1e9:.0f} nm")
    figure.colorbar(shown, ax=figure.axes, label="waves")
    return figure


def draw_psfs(
    height: NDArray[np.floating], spec: OpticsSpec, depths: Sequence[float], shape: tuple[int, int] = (33, 33)
) -> "Figure":
    """PSFs of superpixels, a row for each depth and a column for each colour's wavelength, on a logarithmic scale."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    wavelengths = _colour_wavelengths(spec)
    figure = Figure(figsize=(2.6 * len(wavelengths) + 1, 2.4 * len(depths) + 0.4), layout="constrained")
    side_x, side_y = (side * spec.sensor.superpixel / 2 * 1e6 for side in shape[::-1])
    for row, depth in zip(figure.subplots(len(depths), len(wavelengths), squeeze=False), depths, strict=True):
        bank = np.asarray(psf(height, spec, wavelengths, depth, shape=shape))
        for axes, image, wavelength in zip(row, bank, wavelengths, strict=True):
            shown = axes.imshow(
                np.maximum(image, 1e-7),
                norm=LogNorm(1e-6, 1),
                extent=(-side_x, side_x, side_y, -side_y),
                cmap="magma",
            )
            axes.set_title(f"{depth:g} m, {wavelength * 1e9:.0f} nm, {image.sum():.1%} in view", fontsize=8)
    figure.supxlabel("x on the sensor (µm)")
    figure.supylabel("y on the sensor (µm)")
    figure.colorbar(shown, ax=figure.axes, label="energy fraction a superpixel")
    return figure


def draw_mtf(
    height: NDArray[np.floating], spec: OpticsSpec, depths: Sequence[float], shape: tuple[int, int] = (33, 33)
) -> "Figure":
    """Modulation transfer against cycles a superpixel, for each depth (lines) and colour (panels)."""
    from matplotlib.figure import Figure

    bank = np.asarray(psf_bank(height, spec, depths, shape=shape))
    pitch = spec.sensor.superpixel
    frequency = np.linspace(0, 0.5 / pitch, 101)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, len(COLOURS), sharey=True)
    for axes, colour, psfs in zip(panels, COLOURS, np.moveaxis(bank, 1, 0), strict=True):
        for image, depth in zip(psfs, depths, strict=True):
            axes.plot(frequency * pitch, mtf(image, pitch, frequency), label=f"{depth:g} m")
        axes.set(title=colour, xlabel="cycles a superpixel", ylim=(0, 1.02), xlim=(0, 0.5))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("MTF")
    panels[-1].legend()
    return figure


def _colour_wavelengths(spec: OpticsSpec) -> list[float]:
    """The wavelength at which each colour sees most, red first."""
    peaks = np.argmax(spec.spectral_weights, axis=1)
    return [spec.sensor.wavelengths[i] for i in peaks]


def _label_pupil(axes: "Axes", title: str) -> None:
    axes.set(title=title, xlabel="x (mm)", ylabel="y (mm)")
