"""What is judged: the optics of an artefact, designed, fitted or measured."""

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.errors import Refusal
from opticaldr.models.evaluation.spots import ray_reach
from opticaldr.models.evaluation.views import PsfView
from opticaldr.models.optics import Optic, OpticsSpec, psf_bank

WINDOW = 41
"""Largest side in superpixels of a PSF."""

MARGIN = 2
"""Superpixels around the outermost ray that a computed PSF keeps, for what diffraction spreads."""

DEPTHS = (0.0, 0.35, 1.0)
"""Where people sit between the scene's near and far end, evenly in 1/depth: what defocus goes by."""


@dataclass(frozen=True)
class Subject:
    """Optics under test: their spec, the depths people sit at (metres), their PSFs there, and whether these
    were measured."""

    spec: OpticsSpec
    depths: tuple[float, ...]
    view: PsfView
    measured: bool


def read_subject(artefact: Artefact) -> Subject:
    """The optics of a design, calibration, head or bundle.

    Measured PSFs (``psf.npz``) are used where the artefact holds them, on axis and at the depths of its bank;
    else PSFs are computed from ``optics.json`` and ``height.npy``.

    Raises:
        Refusal: the artefact holds neither, or its bank does not fit its optics.
    """
    files = artefact.manifest.files
    optics = [name for name in files if PurePosixPath(name).name == "optics.json"]
    if not optics:
        raise Refusal(
            f"{artefact.path} holds no optics.json",
            "evaluate a design, calibration, head or bundle of this version",
        )
    if "psf.npz" in files:
        spec = OpticsSpec.model_validate_json(artefact.file(optics[0]).read_bytes())
        return _measured(artefact, spec)
    optic = Optic.read(artefact.file(optics[0]).parent)
    spec = optic.spec
    depths = tuple(
        float(1 / (1 / spec.scene.near + share * (1 / spec.scene.far - 1 / spec.scene.near)))
        for share in DEPTHS
    )
    side = min(WINDOW, 2 * (math.ceil(ray_reach(optic.height, spec, depths)) + MARGIN) + 1)
    bank = psf_bank(optic.height.astype(np.float32), spec, depths, shape=(side, side))
    return Subject(spec, depths, PsfView(artefact.kind, np.asarray(bank, np.float32)), measured=False)


def _measured(artefact: Artefact, spec: OpticsSpec) -> Subject:
    with np.load(artefact.file("psf.npz"), allow_pickle=False) as stored:
        bank, depths = stored["psf"], np.atleast_1d(stored["depths"])
        fields = np.atleast_2d(stored["fields"])
    if bank.ndim != 5 or bank.shape[2] != 3 or len(bank) != len(depths):
        raise Refusal(
            f"{artefact.path}: psf.npz holds {bank.shape} for {len(depths)} depths",
            "calibrate again: [depth, field, colour, y, x] is expected",
        )
    on_axis = bank[:, int(np.argmin(np.linalg.norm(fields, axis=1)))]
    near = np.argsort(depths)
    chosen = np.unique(np.round(np.linspace(0, len(near) - 1, min(3, len(near)))).astype(int))
    order = near[chosen]
    pixels = _middle(superpixel_bank(on_axis[order], spec.sensor.binning))
    if not (spec.scene.near / 2 <= depths.min() and depths.max() <= spec.scene.far * 2):
        raise Refusal(
            f"{artefact.path}: the PSFs were measured at {depths.min():g} to {depths.max():g} m, "
            f"the optics are for {spec.scene.near:g} to {spec.scene.far:g} m",
            "give the calibration of this design",
        )
    view = PsfView(artefact.kind, np.maximum(pixels, 0.0).astype(np.float32))
    return Subject(spec, tuple(float(depths[i]) for i in order), view, measured=True)


def _middle(bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle `WINDOW` superpixels of windows with odd sides."""
    top, left = (max(0, (side - WINDOW) // 2) for side in bank.shape[-2:])
    return bank[..., top : top + WINDOW, left : left + WINDOW]
