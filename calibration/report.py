"""The page a technician reads: verdict, gates with remedies, spots beside the designed ones, and the build
that was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticaldr.artefacts import Report
from opticaldr.calibration.fit import surface_difference

if TYPE_CHECKING:
    from opticaldr.calibration.calibrate import Calibration

_GREEN = 1


def write_report(path: Path, found: Calibration) -> None:
    """Write the self-contained page."""
    failed = [gate for gate in found.gates if not gate.passed]
    report = Report(
        "Calibration",
        f"What was measured on {found.rig} of the optics {found.design.spec.name}, and whether it can be trusted.",
    )
    if failed:
        names = ", ".join(gate.name for gate in failed)
        report.verdict(False, f"Not to be used as it is: {names}.")
        report.table(["Gate", "What to do"], [[gate.name, gate.remedy] for gate in failed])
    else:
        report.verdict(True, "All gates passed. Next: opticaldr finetune, then opticaldr export.")
    report.section("Gates").table(
        ["Gate", "Value", "Limit", "Unit", "Verdict"],
        [
            [
                gate.name,
                gate.value,
                f"{gate.bound} {gate.limit:g}",
                gate.unit,
                "passed" if gate.passed else "FAILED",
            ]
            for gate in found.gates
        ],
    )
    report.section("Spots")
    report.figure(
        _spots(found),
        "Green PSFs at every depth, logarithmic over four decades: as designed, as measured, as the fitted build "
        "predicts; last, raw mosaics, measured less predicted, linear over ± 5 % of the peak. Depths marked * "
        "were kept from the fit.",
        "Grid of point spread functions by depth: designed, measured, fitted, difference.",
    )
    report.section("The build")
    built = found.as_built
    plain = {"decentre x": 1e6, "decentre y": 1e6, "spacing": 1e6, "rotation": 1e3}
    units = {"rotation": "mrad"}
    report.table(
        ["What", "Found", "Standard error", "Unit"],
        [
            [
                name,
                built.parameters[name][0] * scale,
                built.parameters[name][1] * scale,
                units.get(name, "µm"),
            ]
            for name, scale in plain.items()
        ],
        "How the part was found to be built. The surface's form error is in asbuilt.json, coefficient by coefficient.",
    )
    if built.confused:
        pairs = "; ".join(f"{a} and {b} (correlation {c:.2f})" for a, b, c in built.confused)
        report.text(
            f"The light does not tell these apart, so only their joint effect on the surface is certain: {pairs}."
        )
    report.figure(
        _surface(found),
        "Surface as found less surface as designed, piston and tilt taken out.",
        "Colour map of the height difference over the pupil.",
    )
    noise = found.sensor.noise
    report.section("Sensor").table(
        ["Figure", "Value", "Unit"],
        [
            ["gain", noise.gain_e_per_dn, "electrons a digital number"],
            ["read noise", noise.read_noise_e, "electrons RMS"],
            ["full well", noise.full_well_e, "electrons"],
            ["black level", noise.black_level_dn, "digital numbers"],
            [
                "dark current",
                noise.dark_current_e_per_s,
                f"electrons a second at {noise.temperature_k - 273.15:.1f} °C",
            ],
            ["pixel response (PRNU)", noise.prnu, "fraction"],
            ["defect pixels", noise.defects, ""],
        ],
    )
    report.figure(
        _transfer(found),
        "Photon transfer: temporal variance against mean signal of the four Bayer planes, and the fitted line.",
        "Scatter of variance against mean with a straight line.",
    )
    report.write(path)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _spots(found: Calibration) -> Any:
    from matplotlib.colors import LogNorm

    measured = found.bank.psf[:, 0, _GREEN]
    count = len(measured)
    figure, axes = _figure(4, count, 2.0 * count + 0.6, 7.6)
    for column, depth in enumerate(found.bank.depths):
        designed, fitted = found.designed[column, _GREEN], found.fitted[column, _GREEN]
        peak = float(designed.max())
        norm = LogNorm(peak * 1e-4, peak)
        for row, image in enumerate((designed, measured[column], fitted)):
            axes[row][column].imshow(np.maximum(image, peak * 1e-4), norm=norm, cmap="magma")
        axes[3][column].imshow(found.difference[column], vmin=-0.05, vmax=0.05, cmap="RdBu_r")
        star = "*" if column in found.held_out else ""
        axes[0][column].set_title(f"{depth:.2f} m{star}")
    for row, label in enumerate(("designed", "measured", "fitted", "difference")):
        axes[row][0].set_ylabel(label)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def _surface(found: Calibration) -> Any:
    figure, axes = _figure(1, 1, 4.6, 3.8)
    difference = surface_difference(found.as_built.optic, found.design) * 1e9
    side = found.design.spec.pupil.diameter / 2 * 1e3
    reach = float(np.nanmax(np.abs(difference)))
    drawn = axes[0][0].imshow(
        difference, extent=(-side, side, side, -side), cmap="RdBu_r", vmin=-reach, vmax=reach
    )
    axes[0][0].set_xlabel("x in mm")
    axes[0][0].set_ylabel("y in mm")
    figure.colorbar(drawn, label=f"nm (RMS {np.sqrt(np.nanmean(difference**2)):.0f} nm)")
    return figure


def _transfer(found: Calibration) -> Any:
    figure, axes = _figure(1, 1, 5.2, 3.2)
    mean, variance = found.sensor.transfer
    axis = axes[0][0]
    axis.plot(mean, variance, "o", markersize=3)
    line = np.array([0, mean.max()])
    axis.plot(line, line / found.sensor.noise.gain_e_per_dn + 1 / 12, "-", color="black", linewidth=1)
    axis.set_xlabel("mean above black in DN")
    axis.set_ylabel("variance in DN²")
    return figure
