"""The page a technician reads: verdict, gates with remedies, spots beside the designed ones, and the build
that was found."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticaldr.artefacts import Report
from opticaldr.calibration.fit import surface_difference
from opticaldr.calibration.gates import Gate
from opticaldr.calibration.likelihood import brightened
from opticaldr.calibration.noise_chart import Compared
from opticaldr.hardware.as_built import FORM_MODES

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
    tell_gates(report.section("Gates"), found.gates)
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
    plain = {
        "decentre x": (1e6, "µm"),
        "decentre y": (1e6, "µm"),
        "rotation": (1e3, "mrad"),
        "spacing": (1e6, "µm"),
        "aperture": (100, "% of the stop"),
        "source": (1e6, "µm more than a 50 µm pinhole"),
    }
    report.table(
        ["What", "Found", "Standard error", "Cramér–Rao bound", "Unit"],
        [
            [name, *(figure * scale for figure in built.parameters[name]), unit]
            for name, (scale, unit) in plain.items()
        ],
        "How the part was found to be built. The surface's form error is in asbuilt.json, coefficient by coefficient.",
    )
    if built.confused:
        ordered = [sorted(group, key=list(built.parameters).index) for group in groups(built.confused)]
        told = "; ".join(f"{', '.join(group[:-1])} and {group[-1]}" for group in ordered)
        report.text(
            f"The light does not tell these apart, so only their joint effect on the surface is certain: {told}. "
            "The pairs and their correlations are in asbuilt.json."
        )
    report.figure(
        _surface(found),
        "Surface as found less surface as designed, piston and tilt taken out. Decentre and rotation are in it: where "
        "the plate is steep they show more than its form error, which stands alone in asbuilt.json.",
        "Colour map of the height difference over the pupil.",
    )
    report.figure(
        _errors(found),
        "Standard error of every Zernike coefficient of the surface, and the Cramér–Rao bound, which photon and read "
        "noise allow nobody to beat. On a simulated bench also the error achieved, which is known there.",
        "Errors of the coefficients beside their bounds on a logarithmic scale.",
    )
    _tell_of_field(report, found)
    if found.chart is not None:
        report.section("Chart and point source")
        report.figure(
            _chart(found.chart),
            f"Raw mosaics of the point source, and what the noise chart makes expect there, logarithmic over four "
            f"decades (NCC {found.chart.likeness:.3f}); last, their difference, linear over ± 5 % of the peak.",
            "A spot as measured, as expected from the chart, and the difference.",
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


def _tell_of_field(report: Report, found: Calibration) -> None:
    fields = len(found.bank.fields)
    if fields == 1:
        return
    model = found.field
    report.section("The field").table(
        ["Depth in m", "Change over the field", f"Left by {model.kernels.shape[1]} kernels", "Noise"],
        [
            [float(depth), float(change), float(left), float(noise)]
            for depth, change, left, noise in zip(
                found.bank.depths, model.variation, model.residual, model.noise, strict=True
            )
        ],
        f"How PSFs at {fields} field angles differ, relative L2, and what the model in field.npz leaves of it.",
    )
    report.figure(
        _field(found),
        "Green PSFs over the field at the middle depth, logarithmic over four decades.",
        "Point spread functions in the places of their field angles.",
    )


def _field(found: Calibration) -> Any:
    from matplotlib.colors import LogNorm

    fields, psf = found.bank.fields, found.bank.psf[len(found.bank.depths) // 2, :, _GREEN]
    columns, rows = (np.unique(fields[:, axis].round(6)) for axis in (0, 1))
    figure, axes = drawing(len(rows), len(columns), 5.2, 5.2)
    peak = float(psf.max())
    norm = LogNorm(peak * 1e-4, peak)
    for axis in axes.ravel():
        axis.axis("off")
    for (x, y), image in zip(fields.round(6), psf, strict=True):
        axis = axes[int(np.searchsorted(rows, y))][int(np.searchsorted(columns, x))]
        axis.imshow(np.maximum(image, peak * 1e-4), norm=norm, cmap="magma")
        axis.set_title(f"{np.degrees(np.arctan(x)):.1f}°, {np.degrees(np.arctan(y)):.1f}°", fontsize=8)
    return figure


def _errors(found: Calibration) -> Any:
    figure, axes = drawing(1, 1, 7.2, 3.2)
    axis, modes = axes[0][0], list(FORM_MODES)
    known = [found.as_built.parameters[f"Z{j}"] for j in modes]
    axis.plot(modes, [one.error * 1e9 for one in known], "_", color="black", label="standard error")
    axis.plot(modes, [one.bound * 1e9 for one in known], "-", linewidth=1, label="Cramér–Rao bound")
    if found.hidden is not None:
        achieved = [
            abs(one.value - found.hidden.form.get(j, 0.0)) * 1e9 for j, one in zip(modes, known, strict=True)
        ]
        axis.plot(modes, achieved, "o", markersize=3, label="error achieved")
    axis.set_yscale("log")
    axis.set_xlabel("Noll index")
    axis.set_ylabel("nm RMS")
    axis.legend(fontsize=8)
    return figure


def tell_gates(report: Report, gates: Sequence[Gate]) -> None:
    """The table of gates: value, limit and verdict of each."""
    report.table(
        ["Gate", "Value", "Limit", "Unit", "Verdict"],
        [
            [
                gate.name,
                gate.value,
                f"{gate.bound} {gate.limit:g}",
                gate.unit,
                "passed" if gate.passed else "FAILED",
            ]
            for gate in gates
        ],
    )


def drawing(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure of `width` × `height` inches and its axes ``[rows][columns]``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _spots(found: Calibration) -> Any:
    from matplotlib.colors import LogNorm

    measured = found.bank.psf[:, 0, _GREEN]
    count, rows, columns = measured.shape
    figure, axes = drawing(4, count, 2.0 * count + 0.6, 4 * (2.0 * rows / columns + 0.1) + 0.3)
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


def _chart(compared: Compared) -> Any:
    from matplotlib.colors import LogNorm

    spot = compared.spot.rate / np.nanmax(compared.spot.rate)
    expected = brightened(compared.expected, compared.spot) / np.nanmax(compared.spot.rate)
    figure, axes = drawing(1, 3, 7.2, 2.8)
    for axis, image, title in zip(
        axes[0], (spot, expected), ("point source", "from the chart"), strict=False
    ):
        axis.imshow(np.maximum(image, 1e-4), norm=LogNorm(1e-4, 1), cmap="magma")
        axis.set_title(title)
    axes[0][2].imshow(spot - expected, vmin=-0.05, vmax=0.05, cmap="RdBu_r")
    axes[0][2].set_title("difference")
    for axis in axes[0]:
        axis.axis("off")
    return figure


def groups(pairs: Iterable[tuple[str, str, float]]) -> list[list[str]]:
    """Names that hang together by pairs, however far around, in the order in which they come."""
    found: list[list[str]] = []
    for first, second, _ in pairs:
        joined = [group for group in found if first in group or second in group]
        found = [group for group in found if group not in joined]
        found.append(list(dict.fromkeys([*itertools.chain(*joined), first, second])))
    return found


def _surface(found: Calibration) -> Any:
    figure, axes = drawing(1, 1, 4.6, 3.8)
    difference = surface_difference(found.as_built.optic, found.design) * 1e9
    side = found.design.spec.pupil.diameter / 2 * 1e3
    reach = float(np.nanquantile(np.abs(difference), 0.99))  # the rim of a decentred plate stands far out
    drawn = axes[0][0].imshow(
        difference, extent=(-side, side, side, -side), cmap="RdBu_r", vmin=-reach, vmax=reach
    )
    axes[0][0].set_xlabel("x in mm")
    axes[0][0].set_ylabel("y in mm")
    figure.colorbar(drawn, extend="both", label=f"nm (RMS {np.sqrt(np.nanmean(difference**2)):.0f} nm)")
    return figure


def _transfer(found: Calibration) -> Any:
    figure, axes = drawing(1, 1, 5.2, 3.2)
    mean, variance = found.sensor.transfer
    axis = axes[0][0]
    axis.plot(mean, variance, "o", markersize=3)
    line = np.array([0, mean.max()])
    axis.plot(line, line / found.sensor.noise.gain_e_per_dn + 1 / 12, "-", color="black", linewidth=1)
    axis.set_xlabel("mean above black in DN")
    axis.set_ylabel("variance in DN²")
    return figure
