"""``opticaldr inspect``: what came back from the fab, measured, against what should have."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact, Report, create, require_new
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication import figures
from opticaldr.hardware.fabrication.order import as_relief, write_json
from opticaldr.hardware.fabrication.prediction import Prediction, predict, silent
from opticaldr.hardware.fabrication.registration import register, resampled
from opticaldr.hardware.fabrication.relief import Fiducial, Heights, Relief, View
from opticaldr.hardware.fabrication.surface_file import read_surface
from opticaldr.models.optics import Optic


def inspect_surface(
    mask: Artefact,
    surface: Path,
    out: Path | None = None,
    *,
    pitch: float | None = None,
    unit: float | None = None,
    flipped: bool = False,
    progress: Callable[[str, int, int], None] = silent,
) -> Artefact:
    """Register a measured surface to the mask it should be, and keep what was built.

    Args:
        mask: made by `fabricate` (or as built, to compare two parts).
        surface: ``.x3p``, ``.tif`` or ``.npy``, measured looking at the relief.
        out: folder to make.
        pitch: metres a pixel, for files without units.
        unit: metres to one unit of height, for files without units.
        flipped: the file is mirrored against what its format says.
        progress: told about the stages.

    Returns:
        A ``mask``: optics.json and height.npy as built, inspection.json, report.html. Rotation, shift, tilt
        and piston are taken out, since they belong to the mounting; lateral scale, depth and a mirrored part
        are not.

    Raises:
        Refusal: a file of the wrong size, without units, or of something else.
    """
    require_new(out)
    if mask.kind != "mask":
        raise Refusal(f"{mask.path} is a {mask.kind}, not a mask", "give the folder that fabricate made")
    optic = Optic.read(mask.path)
    order = mask.json("process.json")
    view = View(order["settings"]["relief_faces"])
    expected = as_relief(optic)
    measured = read_surface(surface, pitch=pitch, unit=unit)
    pose, explained, ambiguous = register(expected, around_mark(expected, view), measured, progress)
    part_mirrored = not ambiguous and pose.mirrored != (view.flipped != flipped)
    found = resampled(expected, measured, pose)
    inside = expected.aperture()
    holes = float(np.mean(~np.isfinite(found[inside])))
    if holes > 0.2:
        raise Refusal(
            f"{holes:.0%} of the aperture was not measured",
            "measure again with more light or stitch the fields",
        )
    true_size = resampled(expected, measured, replace(pose, scale=1.0))
    built = _completed(true_size, expected.height)
    if part_mirrored:
        built = np.ascontiguousarray(built[:, ::-1])
    as_built = Optic(optic.spec, built)
    error = form_error(expected.height, found, inside)
    prediction = predict(optic, as_built, progress)
    result = {
        "surface": surface.name,
        "explained_variance": explained,
        "rotation_deg": float(np.degrees(np.angle(np.exp(1j * pose.angle)))),
        **{name: value for name, value in asdict(pose).items() if name not in ("angle", "mirrored")},
        "part_mirrored": part_mirrored,
        "orientation_ambiguous": ambiguous,
        "not_measured": holes,
        **error,
        "psf_ncc": prediction.ncc.tolist(),
        "psf_ncc_worst": float(prediction.ncc.min()),
    }
    with create("mask", out, parents=[mask]) as draft:
        as_built.write(draft.path)
        write_json(draft.path / "process.json", order)
        write_json(draft.path / "inspection.json", result)
        _report(result, expected, found, inside, prediction).write(draft.path / "report.html")
    return draft.sealed()


def form_error(expected: Heights, built: Heights, inside: NDArray[np.bool_]) -> dict[str, float]:
    """RMS and peak-to-valley of built − expected, and the depth that was reached, over the measured aperture.

    ``depth_gain`` is the slope of built against expected heights: 1.02 is two per cent too deep. The error is
    given as found and with the gain taken out. All but the gain in metres.
    """
    used = inside & np.isfinite(built)
    wanted = expected[used] - expected[used].mean()
    got = built[used] - built[used].mean()
    gain = float(wanted @ got / (wanted @ wanted))
    error, rest = got - wanted, got - gain * wanted
    return {
        "form_error_rms_m": float(np.sqrt(np.mean(error**2))),
        "form_error_pv_m": float(np.ptp(error)),
        "depth_gain": gain,
        "residual_rms_m": float(np.sqrt(np.mean(rest**2))),
    }


def around_mark(expected: Relief, view: View) -> NDArray[np.bool_]:
    """The corner with the orientation mark, as seen from the sensor; empty for a square aperture."""
    box = np.zeros(expected.height.shape, dtype=bool)
    if not expected.square:
        mark = Fiducial.beside(expected)
        rows, columns = np.nonzero(mark.where(expected.samples))
        edge = mark.row
        box[: rows.max() + 1 + edge, : columns.max() + 1 + edge] = True
        box &= np.asarray(view.seen(~expected.aperture()))
    return np.asarray(view.seen(box))


def _completed(built: Heights, expected: Heights) -> Heights:
    """``built`` with the expected height, at the built level, wherever nothing was measured."""
    missing = ~np.isfinite(built)
    level = float(np.median((built - expected)[~missing]))
    return np.where(missing, expected + level, built)


def _report(
    result: dict[str, Any],
    expected: Relief,
    found: Heights,
    inside: NDArray[np.bool_],
    prediction: Prediction,
) -> Report:
    report = Report(
        "Inspection of a made mask",
        f"{result['surface']}: {result['form_error_rms_m'] * 1e9:.0f} nm RMS from what was expected over "
        f"the aperture, "
        f"depth {result['depth_gain']:.4f} of nominal.",
    )
    report.section("Is it the part?")
    if result["orientation_ambiguous"]:
        report.verdict(
            False,
            "The relief looks the same turned or mirrored, so its orientation cannot be told from it: look at "
            "the letter F under a microscope.",
        )
    report.verdict(
        not result["part_mirrored"],
        "The part is mirrored against the design. If the instrument's export flips pictures, inspect "
        "again with "
        "--flipped."
        if result["part_mirrored"]
        else "The part is the right way round.",
    )
    report.verdict(
        result["psf_ncc_worst"] > 0.95,
        f"Its PSF correlates with the expected one by {result['psf_ncc_worst']:.4f} or better at all "
        f"depths and colours.",
    )
    report.figure(
        figures.height_and_error(expected.height, found, inside, expected.pitch),
        "Expected heights, heights as built after registration, and their difference.",
        f"Three maps; the difference is {result['form_error_rms_m'] * 1e9:.0f} nm RMS",
    )
    report.section("Figures")
    report.table(
        ["", ""],
        [
            ["form error, RMS", f"{result['form_error_rms_m'] * 1e9:.1f} nm"],
            ["form error, peak to valley", f"{result['form_error_pv_m'] * 1e9:.1f} nm"],
            ["depth reached", f"{result['depth_gain']:.5f} of nominal"],
            ["error with the depth taken out, RMS", f"{result['residual_rms_m'] * 1e9:.1f} nm"],
            ["lateral scale", f"{result['scale']:.6f}"],
            ["rotation in the file", f"{result['rotation_deg']:.3f}°"],
            ["shift in the file", f"{result['shift_x'] * 1e6:.2f}, {result['shift_y'] * 1e6:.2f} µm"],
            ["tilt in the file", f"{result['tilt_x'] * 1e3:.4f}, {result['tilt_y'] * 1e3:.4f} mrad"],
            ["not measured", f"{result['not_measured']:.2%} of the aperture"],
        ],
    )
    report.section("What it does to the light")
    report.figure(
        figures.psf_pairs(prediction),
        "PSFs as expected (above) and as built (below), with their correlation.",
        f"Pairs of PSF images, worst correlation {result['psf_ncc_worst']:.4f}",
    )
    return report
