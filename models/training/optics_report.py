"""The optics before anything is learned, drawn for the person who chooses a preset."""

from pathlib import Path

import numpy as np

from opticaldr.artefacts import Report
from opticaldr.models.optics import face_width, zernike_height
from opticaldr.models.optics.draw import draw_height, draw_mtf, draw_phase, draw_psfs
from opticaldr.models.training.config import DesignConfig
from opticaldr.models.training.lens import unlearned


def write_optics_report(path: Path, config: DesignConfig) -> None:
    """Draw the preset and the surface that learning starts from at the config's distances, into one page.

    Without a stock lens that surface is ``mask.start``.

    Raises:
        Refusal: unknown preset.
    """
    spec = config.optics()
    depths = config.subjects.depths
    height = zernike_height(spec.mask.start if spec.lens is None else unlearned(config), spec).astype(
        np.float32
    )
    report = Report(
        f"Optics of the preset {spec.name}",
        "Before anything is learned: the mask's starting surface and what it does to a point of light.",
    )
    report.section("Geometry").table(
        ["depth / m", "width of a face / superpixels"], [[depth, face_width(spec, depth)] for depth in depths]
    )
    report.section("Mask").figure(
        draw_height(height, spec), "Starting height map.", "A map and its sections."
    )
    report.figure(draw_phase(height, spec), "Its phase, modulo one wave.", "One map for each colour.")
    report.section("Point spread")
    report.figure(draw_psfs(height, spec, depths), "PSFs at the config's distances.", "A grid of spots.")
    report.figure(draw_mtf(height, spec, depths), "Modulation transfer.", "Curves that fall from one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    report.write(path)
