"""``opticaldr fabricate --process slm``: the frame for one SLM, its table, and what light makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opticaldr.artefacts import Artefact, Report, create
from opticaldr.hardware.fabrication import pattern
from opticaldr.hardware.fabrication.order import as_relief, write_json
from opticaldr.hardware.fabrication.pattern import Shown, SlmPattern
from opticaldr.hardware.fabrication.picture import write_picture
from opticaldr.hardware.fabrication.prediction import Progress, as_optic, sampled_depths, silent, window
from opticaldr.hardware.fabrication.process import Wave
from opticaldr.hardware.slms import Panel, Response
from opticaldr.models.optics import Optic, psf
from opticaldr.models.optics.metrics import ncc


def make_pattern(
    design: Artefact,
    optic: Optic,
    out: Path | None,
    *,
    settings: Mapping[str, Any],
    seed: int,
    accept_broken_rules: bool = False,
    progress: Progress = silent,
) -> Artefact:
    """Make a ``pattern``: frame.png (and .bmp up to 8 bits), lut.json, optics.json with height.npy as shown.

    Raises:
        Refusal: a table, flatness map or resolution that does not belong to this SLM and this design.
    """
    told = SlmPattern.told(settings)
    one = told.panel()
    response = told.response(one, optic.spec)
    wave = Wave(response.wavelength, optic.spec.mask.material.index(response.wavelength))
    relief = as_relief(optic).grounded()
    progress("drawing the frame", 0, 1)
    shown = pattern.show(relief, wave, one, response, told)
    progress("drawing the frame", 1, 1)
    made = as_optic(pattern.as_relief(shown, relief, wave, one, told), optic.spec, stepped=True)
    wanted, got = _look(optic, made, one, response.wavelength, progress)
    with create("pattern", out, parents=[design], seed=seed) as draft:
        frame = shown.frame.astype(np.uint8) if one.bits <= 8 else shown.frame
        write_picture(draft.path / "frame.png", frame, one.pitch)
        if one.bits <= 8:
            write_picture(draft.path / "frame.bmp", frame, one.pitch)
        response.write(draft.path / "lut.json")
        made.write(draft.path)
        write_json(
            draft.path / "frame.png.json", {"design": design.id, **pattern.sidecar(told, one, response)}
        )
        write_json(draft.path / "process.json", {"process": "slm", "settings": told.model_dump(mode="json")})
        correlation = ncc(wanted, got)
        aliased = int(shown.aliased.sum())
        merits = {
            "wavelength_m": response.wavelength,
            "depths_m": sampled_depths(optic.spec),
            "psf_ncc": correlation.tolist(),
            "psf_ncc_worst": float(correlation.min()),
            "into_pattern": one.fill_factor**2,
            "unmodulated": (1 - one.fill_factor) ** 2,
            "aliased_pixels": aliased,
            "broken_rules": {"half a turn a pixel": aliased} if aliased else {},
            "accepted_broken_rules": accept_broken_rules,
        }
        write_json(draft.path / "prediction.json", merits)
        _report(told, one, response, shown, merits).write(draft.path / "report.html")
    return draft.sealed()


def _look(
    optic: Optic, made: Optic, one: Panel, wavelength: float, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """PSFs ``[depth, y, x]`` of the design and of the SLM in the same light.

    Of the light that falls on the panel the share F² (F the fill factor) is modulated and stays in the
    zeroth grating order, (1 − F)² stays there unmodulated, the rest leaves in higher orders outside the
    window. The two are added in energy; their interference is left out.
    """
    flat = Optic(optic.spec, np.zeros_like(optic.height))
    shape = window(optic)
    rows = []
    depths = sampled_depths(optic.spec)
    for done, depth in enumerate(depths):
        progress("predicting PSFs", done, len(depths))
        design, shown, through = (
            psf(each.height, each.spec, [wavelength], depth, shape=shape)[0] for each in (optic, made, flat)
        )
        rows.append((design, one.fill_factor**2 * shown + (1 - one.fill_factor) ** 2 * through))
    progress("predicting PSFs", len(depths), len(depths))
    wanted, got = (np.stack(column) for column in zip(*rows, strict=True))
    return wanted, got


def _report(told: SlmPattern, one: Panel, response: Response, shown: Shown, merits: dict[str, Any]) -> Report:
    report = Report(
        f"Pattern for {one.title}",
        f"{one.columns} x {one.rows} pixels, {one.bits} bit, for {response.wavelength * 1e9:.0f} nm. "
        "Send frame.png as it is: unscaled, without gamma or colour management.",
    )
    report.section("Does it fit?")
    aliased = merits["aliased_pixels"]
    report.verdict(
        aliased == 0,
        "The phase climbs by less than half a turn from pixel to pixel everywhere."
        if aliased == 0
        else f"At {aliased} pixels the phase climbs by over half a turn a pixel: the SLM cannot show it.",
    )
    step = max(1, one.columns // 960)
    grey = (shown.frame[::step, ::step].astype(np.float64) * 255 / (one.levels - 1)).astype(np.uint8)
    report.image(
        grey,
        "The frame, reduced. The F in the upper left corner tells which way round it is.",
        f"Grey frame of {one.columns} by {one.rows} pixels",
    )
    report.section("What it will do to the light")
    report.table(
        ["depth / m", "PSF correlation with the design"],
        list(zip(merits["depths_m"], merits["psf_ncc"], strict=True)),
        f"At {response.wavelength * 1e9:.0f} nm: an SLM shows a design at one wavelength at a time.",
    )
    report.text(
        f"With a fill factor of {one.fill_factor:.3f}, {merits['into_pattern']:.1%} of the light goes "
        f"into the pattern and {merits['unmodulated']:.1%} stays unmodulated on the axis. Put a stop of the design's "
        "aperture in front: the panel outside it is flat."
    )
    report.section("Figures of the SLM")
    report.table(
        ["figure", "value", "source", "confirmed"],
        [
            [
                figure.replace("_", " "),
                f"{one.pitch * 1e6:g} µm" if figure == "pitch" else getattr(one, figure),
                one.sources[figure],
                "no" if figure in one.unconfirmed else "yes",
            ]
            for figure in one.sources
        ],
    )
    table = (
        f"measured ({told.lut.name}), serial {response.serial or 'not stated'}"
        if told.lut
        else "a straight line"
    )
    temperature = f" at {response.temperature - 273.15:.1f} °C" if response.temperature else ""
    report.text(f"Grey to phase: {table}{temperature}; level 0 to {len(response.phase) - 1}, lut.json.")
    return report
