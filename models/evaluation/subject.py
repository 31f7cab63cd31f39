"""What is judged: the optics of an artefact, designed, fitted or measured."""

import math
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.errors import Refusal
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.spots import ray_reach
from opticaldr.models.evaluation.views import PsfView
from opticaldr.models.networks import Compact, load_networks
from opticaldr.models.optics import Optic, OpticsSpec, psf_bank

WINDOW = 41
"""Largest side in superpixels of a PSF."""

MARGIN = 2
"""Superpixels around the outermost ray that a computed PSF keeps, for what diffraction spreads."""

DEPTHS = (0.0, 0.35, 1.0)
"""Where people sit between the scene's near and far end, evenly in 1/depth: what defocus goes by."""


@dataclass(frozen=True)
class Subject:
    """Optics under test.

    Attributes:
        spec: what is known of them; its binning is that of the PSFs.
        depths: where people sit, metres.
        view: the PSFs there.
        measured: whether these were measured.
        network: the artefact's own frame network, whose embeddings somebody may read; None if it has none.
        designed: PSFs of the design that the optics were built from, if it was given.
    """

    spec: OpticsSpec
    depths: tuple[float, ...]
    view: PsfView
    measured: bool
    network: Compact | None = None
    designed: FloatArray | None = None


def read_subject(
    artefact: Artefact, design: Artefact | None = None, *, binning: int | None = None
) -> Subject:
    """The optics of a design, calibration, head or bundle.

    Measured PSFs (``psf.npz``) are used where the artefact holds them, on axis and at the depths of its bank;
    else PSFs are computed from ``optics.json`` and ``height.npy``.

    Args:
        artefact: what is judged.
        design: what it was built from, as somebody knows it who has not measured; one of its ancestors.
        binning: raw pixels along a side of the pixels that are judged; those of the artefact if None.

    Raises:
        Refusal: the artefact holds neither, its bank does not fit its optics, or the design is not its own.
    """
    subject = _optics(artefact, binning)
    if "networks.safetensors" in artefact.manifest.files and binning is None:
        size = subject.spec.sensor.binned_shape[0]
        network, _, _ = load_networks(artefact.file("networks.safetensors"), size)
        subject = replace(subject, network=network)
    if design is None:
        return subject
    if design.id not in {ancestor.id for ancestor in artefact.manifest.ancestors}:
        raise Refusal(f"{design.path} is not what {artefact.path} was built from", "give its own design")
    optic = Optic.read(design.file("optics.json").parent)
    bank = psf_bank(
        optic.height.astype(np.float32),
        _binned(optic.spec, binning),
        subject.depths,
        shape=subject.view.bank.shape[-2:],
    )
    return replace(subject, designed=np.asarray(bank, np.float32))


def _binned(spec: OpticsSpec, binning: int | None) -> OpticsSpec:
    """The spec with pixels of another binning."""
    if binning is None:
        return spec
    return spec.model_copy(update={"sensor": spec.sensor.model_copy(update={"binning": binning})})


def _optics(artefact: Artefact, binning: int | None) -> Subject:
    files = artefact.manifest.files
    optics = [name for name in files if PurePosixPath(name).name == "optics.json"]
    if not optics:
        raise Refusal(
            f"{artefact.path} holds no optics.json",
            "evaluate a design, calibration, head or bundle of this version",
        )
    if "psf.npz" in files:
        spec = OpticsSpec.model_validate_json(artefact.file(optics[0]).read_bytes())
        return _measured(artefact, spec, binning)
    optic = Optic.read(artefact.file(optics[0]).parent)
    spec = optic.spec
    depths = tuple(
        float(1 / (1 / spec.scene.near + share * (1 / spec.scene.far - 1 / spec.scene.near)))
        for share in DEPTHS
    )
    half = min(WINDOW // 2, math.ceil(ray_reach(optic.height, spec, depths)) + MARGIN)
    side = 2 * half * spec.sensor.binning // (binning or spec.sensor.binning) + 1
    spec = _binned(spec, binning)
    bank = psf_bank(optic.height.astype(np.float32), spec, depths, shape=(side, side))
    return Subject(spec, depths, PsfView(artefact.kind, np.asarray(bank, np.float32)), measured=False)


def _measured(artefact: Artefact, spec: OpticsSpec, binning: int | None) -> Subject:
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
    window = WINDOW // 2 * 2 * spec.sensor.binning // (binning or spec.sensor.binning) + 1
    spec = _binned(spec, binning)
    pixels = _middle(superpixel_bank(on_axis[order], spec.sensor.binning), window)
    if not (spec.scene.near / 2 <= depths.min() and depths.max() <= spec.scene.far * 2):
        raise Refusal(
            f"{artefact.path}: the PSFs were measured at {depths.min():g} to {depths.max():g} m, "
            f"the optics are for {spec.scene.near:g} to {spec.scene.far:g} m",
            "give the calibration of this design",
        )
    view = PsfView(artefact.kind, np.maximum(pixels, 0.0).astype(np.float32))
    return Subject(spec, tuple(float(depths[i]) for i in order), view, measured=True)


def _middle(bank: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The middle `window` pixels of windows with odd sides."""
    top, left = (max(0, (side - window) // 2) for side in bank.shape[-2:])
    return bank[..., top : top + window, left : left + window]
