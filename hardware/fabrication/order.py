"""``opticaldr fabricate``: from a design to a sealed folder that a fab, or an SLM, can work from."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact, Report, create, require_new
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication import figures
from opticaldr.hardware.fabrication.catalogue import process_class
from opticaldr.hardware.fabrication.drawing import Sheet
from opticaldr.hardware.fabrication.prediction import (
    BAND,
    Prediction,
    Progress,
    Tolerance,
    as_optic,
    detunings,
    efficiency,
    predict,
    quantiles,
    silent,
    tolerance,
)
from opticaldr.hardware.fabrication.process import Export, Process, Violation, Wave
from opticaldr.hardware.fabrication.relief import Fiducial, Relief
from opticaldr.hardware.fabrication.rules import design_rules
from opticaldr.models.optics import Optic, OpticsSpec

FEW = 20
"""Fewer parts than this have no 5th and 95th percentile worth the name."""
LISTED = 12
"""Violations of one rule that the report lists; all are in rules.csv."""


def fabricate(
    design: Artefact,
    process: str,
    out: Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    parts: int = 64,
    seed: int = 0,
    accept_broken_rules: bool = False,
    progress: Progress = silent,
) -> Artefact:
    """Make the files for one process and say what it will do to the optics.

    Args:
        design: an artefact with optics.json and height.npy (a design, or a mask as built).
        process: a name of `PROCESSES`, or ``slm``.
        out: folder to make.
        settings: the process's settings by field name, metres.
        parts: masks made in the tolerance analysis; 0 leaves it out.
        seed: of the tolerance analysis.
        accept_broken_rules: written into prediction.json beside the rules that are broken; the files are the same.
        progress: told about the long stages.

    Returns:
        A ``mask`` (a ``pattern`` for ``slm``): the process's files with their sidecars, sheet.pdf,
        report.html, prediction.json, rules.csv, process.json, and optics.json with height.npy as it will
        leave the machine.

    Raises:
        Refusal: unknown process or setting, or a design the process cannot make; the message has the figure.
    """
    require_new(out)
    optic = Optic.read(design.path)
    if process == "slm":
        from opticaldr.hardware.fabrication.show_pattern import make_pattern

        return make_pattern(
            design,
            optic,
            out,
            settings=settings or {},
            seed=seed,
            accept_broken_rules=accept_broken_rules,
            progress=progress,
        )
    if parts < 0:
        raise Refusal(f"{parts} parts cannot be made", "give 0 or more")
    way = process_class(process).told(settings or {})
    spec, wave, factor = way.optics(optic.spec)
    relief = as_relief(optic, factor)
    progress("drawing the relief", 0, 1)
    drawn = way.drawn(relief, wave)
    continuous = way.gridded(relief).grounded()
    violations = design_rules(way, continuous, drawn, wave)
    broken = dict(Counter(violation.rule for violation in violations))
    made = as_optic(way.made(drawn, wave), spec, stepped=way.wrapped)
    progress("drawing the relief", 1, 1)
    prediction = predict(optic, made, progress)
    wanted = continuous.cropped(made.spec.pupil.samples).height
    shares = efficiency(made, wanted, wave, way.waves)
    spread = tolerance(way, drawn, wave, optic, spec, parts, seed, progress) if parts else None
    title = f"design {design.id[:16]} {way.name}"
    with create("mask", out, parents=[design], seed=seed) as draft:
        progress("writing the files", 0, 1)
        exports = way.write(drawn, wave, draft.path, title)
        checksums = write_sidecars(draft.path, exports, way, design.id, drawn, wave, spec)
        made.write(draft.path)
        write_json(
            draft.path / "process.json", {"process": way.name, "settings": way.model_dump(mode="json")}
        )
        write_violations(draft.path / "rules.csv", violations)
        figures_of_merit = _merits(prediction, spread, shares, way, spec, wave)
        figures_of_merit["broken_rules"] = broken
        figures_of_merit["accepted_broken_rules"] = accept_broken_rules
        write_json(draft.path / "prediction.json", figures_of_merit)
        Sheet(way, drawn, wave, spec.mask.material.name, design.id, exports, checksums, broken).write(
            draft.path / "sheet.pdf"
        )
        report = _report(way, drawn, wave, spec, exports, violations, prediction, shares, spread)
        report.write(draft.path / "report.html")
        progress("writing the files", 1, 1)
    return draft.sealed()


def as_relief(optic: Optic, factor: float = 1.0) -> Relief:
    """The optic's height map, times ``factor``, as a relief."""
    pupil = optic.spec.pupil
    return Relief(optic.height * factor, pupil.pitch, pupil.diameter / 2, pupil.shape == "square")


def write_sidecars(
    folder: Path,
    exports: Sequence[Export],
    way: Process,
    design: str,
    drawn: Relief,
    wave: Wave,
    spec: OpticsSpec,
) -> dict[str, str]:
    """Write ``<file>.json`` beside every file: what it is, frame, unit, scale; returns the files' SHA-256."""
    common = {
        "design": design,
        "process": way.name,
        "orientation": way.view.described(),
        "fiducial": Fiducial.beside(drawn).described(drawn),
        "pitch_m": drawn.pitch,
        "samples": drawn.samples,
        "aperture_m": 2 * drawn.radius,
        "origin": "optical axis, in the middle of the grid",
        "material": spec.mask.material.name,
        "wavelength_m": wave.wavelength,
        "index": wave.index,
        "depth_of_one_wave_m": wave.depth,
    }
    checksums = {export.name: _sha256(folder / export.name) for export in exports}
    for export in exports:
        stated = {"file": export.name, "sha256": checksums[export.name], **common, **export.details}
        write_json(folder / f"{export.name}.json", stated)
    return checksums


def _merits(
    prediction: Prediction,
    spread: Tolerance | None,
    shares: NDArray[np.float64],
    way: Process,
    spec: OpticsSpec,
    wave: Wave,
) -> dict[str, Any]:
    """The predicted figures, for machines."""
    closed = [way.efficiency(float(detuning)) for detuning in detunings(spec, wave)]
    merits: dict[str, Any] = {
        "depths_m": prediction.depths,
        "psf_ncc": prediction.ncc.tolist(),
        "psf_ncc_worst": float(prediction.ncc.min()),
        "band_cycles_per_face": BAND,
        "band_energy_design": prediction.band_design,
        "band_energy_made": prediction.band_made,
        "wavelengths_m": spec.sensor.wavelengths,
        "efficiency": shares.tolist(),
        "efficiency_closed_form": closed,
    }
    if spread is not None:
        merits["tolerance"] = {
            "parts": len(spread.ncc),
            "psf_ncc": spread.ncc.tolist(),
            "psf_ncc_5_50_95": quantiles(spread.ncc),
            "band_energy": spread.band.tolist(),
            "band_energy_5_50_95": quantiles(spread.band),
            "band_energy_design": spread.band_design,
        }
    return merits


def _report(
    way: Process,
    drawn: Relief,
    wave: Wave,
    spec: OpticsSpec,
    exports: list[Export],
    violations: list[Violation],
    prediction: Prediction,
    shares: NDArray[np.float64],
    spread: Tolerance | None,
) -> Report:
    report = Report(
        f"Mask: {way.title}",
        f"{drawn.depth() * 1e6:.3f} µm deep over an aperture of {drawn.radius * 2e3:.4f} mm in "
        f"{spec.mask.material.name}, made for {wave.wavelength * 1e9:.0f} nm. The drawing sheet is "
        f"sheet.pdf.",
    )
    report.section("Can it be made?")
    rules = sorted({violation.rule for violation in violations})
    if violations:
        report.verdict(False, f"{len(violations)} places break a design rule ({', '.join(rules)}).")
    else:
        report.verdict(True, "No place breaks a design rule of this process.")
    report.figure(
        figures.relief_map(way, drawn, violations),
        "The relief as the files describe it, looking at it; the letter F in the upper left corner tells "
        "which "
        "way round it is.",
        f"Map of the relief, {drawn.depth() * 1e6:.3f} micrometres deep",
    )
    if violations:
        rows: list[list[Any]] = []
        for rule in rules:
            of_rule = [violation for violation in violations if violation.rule == rule]
            rows += [
                [v.rule, *_in_unit(v), f"{v.x * 1e6:.1f}", f"{v.y * 1e6:.1f}", v.pixels]
                for v in of_rule[:LISTED]
            ]
        report.table(
            ["rule", "found", "limit", "X / µm", "Y / µm", "pixels"],
            rows,
            f"The worst {LISTED} places of each rule; all are in rules.csv.",
        )
    report.section("What it will do to the light")
    worst = float(prediction.ncc.min())
    report.text(
        f"The PSF of the mask as it leaves the machine, without random errors, correlates with the "
        f"design's by "
        f"{worst:.4f} or better at all depths and colours. The energy in the band that recognisers use, "
        f"{BAND[0]:g} to {BAND[1]:g} cycles per face width, is a proxy for privacy: higher than the design's "
        "means more of a face gets through."
    )
    report.figure(
        figures.psf_pairs(prediction),
        "PSFs at the nearest, middle and farthest depth (square root of energy); below each its correlation.",
        f"Pairs of PSF images, design above and made below, worst correlation {worst:.4f}",
    )
    report.table(
        ["depth / m", "band energy, design", "band energy, made", "ratio"],
        [
            [depth, before, after, after / before]
            for depth, before, after in zip(
                prediction.depths, prediction.band_design, prediction.band_made, strict=True
            )
        ],
    )
    report.figure(
        figures.efficiency_curve(way, spec, wave, shares),
        "Share of the light that goes where the design sends it. The rest is stray light and other orders.",
        "Efficiency over wavelength: " + ", ".join(f"{share:.3f}" for share in shares),
    )
    if spread is not None:
        report.section("What parts will differ by")
        low, middle, high = quantiles(spread.ncc)
        shared = f"Of {len(spread.ncc)} parts with the process's random errors half correlate with the design by more "
        report.text(
            shared + f"than {middle:.4f}, and nine of ten lie between {low:.4f} and {high:.4f}."
            if len(spread.ncc) >= FEW
            else f"{len(spread.ncc)} parts with the process's random errors correlate with the design by "
            f"{min(spread.ncc):.4f} to {max(spread.ncc):.4f}: too few to tell a spread from."
        )
        report.figure(
            figures.spread(spread),
            "At the middle depth, one wavelength to a colour.",
            f"Histograms of PSF correlation (median {middle:.4f}) and band energy over {len(spread.ncc)} "
            f"parts",
        )
    report.section("Specification and files")
    report.table(["", ""], way.specification(drawn, wave))
    report.table(["file", "what"], [[export.name, export.purpose] for export in exports])
    report.text(
        f"All files look at the relief, which faces the {way.relief_faces}, unless their sidecar (the "
        f"same name and "
        ".json) says otherwise; it also states unit, frame, pixel and scale."
    )
    return report


def _in_unit(violation: Violation) -> tuple[str, str]:
    if violation.unit == "m":
        return f"{violation.value * 1e6:.3g} µm", f"{violation.limit * 1e6:.3g} µm"
    return f"{violation.value:.3g}", f"{violation.limit:.3g}"


def write_violations(path: Path, violations: Sequence[Violation]) -> None:
    """All violations as CSV, in the units of `Violation`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow([field.name for field in fields(Violation)])
        rows.writerows(astuple(violation) for violation in violations)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write indented UTF-8 JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
