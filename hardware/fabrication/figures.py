"""Pictures of the report: the relief, the PSFs, the efficiency and the spread over parts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.fabrication.prediction import Prediction, Tolerance
from opticaldr.hardware.fabrication.process import Process, Violation, Wave
from opticaldr.hardware.fabrication.relief import Heights, Relief
from opticaldr.models.optics import COLOURS, OpticsSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def relief_map(process: Process, drawn: Relief, violations: Sequence[Violation]) -> "Figure":
    """The drawn relief as the files show it, with a ring around each of the first violations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    seen = np.asarray(process.view.seen(drawn.height)) * 1e6
    half = drawn.width * 5e2
    step = max(1, drawn.samples // 1024)
    picture = axes.imshow(
        seen[::step, ::step], extent=(-half, half, -half, half), cmap="viridis", interpolation="nearest"
    )
    figure.colorbar(picture, ax=axes, label="height / µm")
    if violations:
        axes.scatter(
            [v.x * 1e3 for v in violations[:200]],
            [v.y * 1e3 for v in violations[:200]],
            s=60,
            facecolors="none",
            edgecolors="#ff3b30",
            linewidths=1.2,
            label="breaks a design rule",
        )
        axes.legend(loc="lower right", fontsize=8)
    axes.set(xlabel="X / mm", ylabel="Y / mm", title=f"Relief, from the {process.relief_faces}")
    return figure


def psf_pairs(prediction: Prediction) -> "Figure":
    """Design above, made below, for every depth and colour, on the design's scale (square root)."""
    from matplotlib.figure import Figure

    depths, colours = len(prediction.depths), len(COLOURS)
    figure = Figure(figsize=(1.5 * depths * colours * 0.8 + 0.6, 3.4), layout="constrained")
    grid = figure.subplots(2, depths * colours, squeeze=False)
    for column in range(depths * colours):
        depth, colour = divmod(column, colours)
        top = float(np.sqrt(prediction.design[depth, colour].max()))
        for row, bank in enumerate((prediction.design, prediction.made)):
            axes = grid[row, column]
            axes.imshow(np.sqrt(bank[depth, colour]), vmin=0, vmax=top, cmap="magma", interpolation="nearest")
            axes.set(xticks=(), yticks=())
        grid[0, column].set_title(f"{prediction.depths[depth]:.2f} m\n{COLOURS[colour]}", fontsize=8)
        grid[1, column].set_xlabel(f"{prediction.ncc[depth, colour]:.4f}", fontsize=8)
    grid[0, 0].set_ylabel("design", fontsize=8)
    grid[1, 0].set_ylabel("made", fontsize=8)
    return figure


def efficiency_curve(
    process: Process, spec: OpticsSpec, wave: Wave, measured: NDArray[np.float64]
) -> "Figure":
    """Share of the light in the wanted wave over wavelength, with the closed form where there is one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    lights = np.array(spec.sensor.wavelengths)
    fine = np.linspace(lights.min(), lights.max(), 200)
    closed = [
        process.efficiency(wave.depth * (spec.mask.material.index(float(light)) - 1) / float(light))
        for light in fine
    ]
    values = [value for value in closed if value is not None]
    if values:
        axes.plot(fine * 1e9, values, color="#7a7a7a", lw=1.2, label="closed form")
    axes.plot(lights * 1e9, measured, "o", color="#0a6ebd", label="of the made relief")
    axes.set(xlabel="wavelength / nm", ylabel="share in the wanted wave", ylim=(0, 1.03))
    axes.axvline(wave.wavelength * 1e9, color="#7a7a7a", lw=0.6, ls=":")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def spread(tolerance: Tolerance) -> "Figure":
    """Histograms over parts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = max(8, min(30, len(tolerance.ncc) // 4))
    left.hist(tolerance.ncc, bins=bins, color="#0a6ebd")
    left.set(xlabel="PSF correlation with the design (worst colour)", ylabel="parts")
    left.locator_params(axis="x", nbins=5)
    right.hist(tolerance.band, bins=bins, color="#0a6ebd")
    right.axvline(tolerance.band_design, color="#1a1a1a", lw=1.2, label="design")
    right.set(xlabel="mean MTF² at 4 to 32 cycles per face")
    right.locator_params(axis="x", nbins=5)
    right.legend(fontsize=8)
    return figure


def height_and_error(expected: Heights, built: Heights, inside: NDArray[np.bool_], pitch: float) -> "Figure":
    """Expected and as-built heights, and their difference, inside the aperture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    half = expected.shape[0] * pitch * 5e2
    step = max(1, expected.shape[0] // 768)
    error = np.where(inside, built - expected, np.nan) * 1e9
    bound = float(np.nanpercentile(np.abs(error), 99.5)) or 1.0
    panels = (
        ("expected / µm", np.where(inside, expected, np.nan) * 1e6, "viridis", None),
        ("as built / µm", np.where(inside, built, np.nan) * 1e6, "viridis", None),
        ("as built − expected / nm", error, "RdBu_r", bound),
    )
    for axes, (title, values, colours, limit) in zip(figure.subplots(1, 3), panels, strict=True):
        picture = axes.imshow(
            values[::step, ::step],
            extent=(-half, half, -half, half),
            cmap=colours,
            vmin=None if limit is None else -limit,
            vmax=limit,
            interpolation="nearest",
        )
        figure.colorbar(picture, ax=axes, shrink=0.85)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("x / mm (from the sensor)", fontsize=8)
    return figure
