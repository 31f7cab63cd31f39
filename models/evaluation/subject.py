"""What is judged: the optics of an artefact, designed, fitted or measured."""

import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.errors import Refusal
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.faces import Progress
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
    artefact: Artefact,
    design: Artefact | None = None,
    *,
    binning: int | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Subject:
    """The optics of a design, calibration, head or bundle.

    Measured PSFs (``psf.npz``) are used where the artefact holds them, on axis and at the depths of its bank;
    else PSFs are computed from ``optics.json`` and ``height.npy``.

    Args:
        artefact: what is judged.
        design: what it was built from, as somebody knows it who has not measured; one of its ancestors.
        binning: raw pixels along a side of the pixels that are judged; those of the artefact if None.
        progress: called as ``progress("compute PSFs", done, total)``.

    Raises:
        Refusal: the artefact holds neither, its bank does not fit its optics, or the design is not its own.
    """
    progress("compute PSFs", 0, 1)
    subject = _optics(artefact, binning)
    progress("compute PSFs", 1, 1)
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


def seats(artefact: Artefact) -> tuple[OpticsSpec, tuple[float, ...]]:
    """What is known of an artefact's optics, and the depths in metres at which people sit; computes no PSF.

    Raises:
        Refusal: the artefact holds no optics, or its bank does not fit them.
    """
    spec, depths, _ = _known(artefact)
    return spec, depths


def _known(artefact: Artefact) -> tuple[OpticsSpec, tuple[float, ...], NDArray[np.floating] | None]:
    """What `seats` says, and the PSFs at these depths where they were measured."""
    spec = OpticsSpec.model_validate_json(_optics_file(artefact).read_bytes())
    if "psf.npz" in artefact.manifest.files:
        on_axis, depths = _measured_on_axis(artefact, spec)
        return spec, depths, on_axis
    near, far = 1 / spec.scene.near, 1 / spec.scene.far
    return spec, tuple(float(1 / (near + share * (far - near))) for share in DEPTHS), None


def _optics_file(artefact: Artefact) -> Path:
    optics = [name for name in artefact.manifest.files if PurePosixPath(name).name == "optics.json"]
    if not optics:
        raise Refusal(
            f"{artefact.path} holds no optics.json",
            "evaluate a design, calibration, head or bundle of this version",
        )
    return artefact.file(optics[0])


def _optics(artefact: Artefact, binning: int | None) -> Subject:
    whole, depths, on_axis = _known(artefact)
    spec = _binned(whole, binning)
    if on_axis is not None:
        window = WINDOW // 2 * 2 * whole.sensor.binning // spec.sensor.binning + 1
        pixels = _middle(superpixel_bank(on_axis, spec.sensor.binning), window)
        view = PsfView(artefact.kind, np.maximum(pixels, 0.0).astype(np.float32))
        return Subject(spec, depths, view, measured=True)
    height = Optic.read(_optics_file(artefact).parent).height
    half = min(WINDOW // 2, math.ceil(ray_reach(height, whole, depths)) + MARGIN)
    side = 2 * half * whole.sensor.binning // spec.sensor.binning + 1
    bank = psf_bank(height.astype(np.float32), spec, depths, shape=(side, side))
    return Subject(spec, depths, PsfView(artefact.kind, np.asarray(bank, np.float32)), measured=False)


def _measured_on_axis(artefact: Artefact, spec: OpticsSpec) -> tuple[NDArray[np.floating], tuple[float, ...]]:
    """Measured PSFs ``[depth, colour, y, x]`` of the field position next to the axis at up to three depths, nearest
    first, and these in metres."""
    with np.load(artefact.file("psf.npz"), allow_pickle=False) as stored:
        bank, depths = stored["psf"], np.atleast_1d(stored["depths"])
        fields = np.atleast_2d(stored["fields"])
    if bank.ndim != 5 or bank.shape[2] != 3 or len(bank) != len(depths):
        raise Refusal(
            f"{artefact.path}: psf.npz holds {bank.shape} for {len(depths)} depths",
            "calibrate again: [depth, field, colour, y, x] is expected",
        )
    if not (spec.scene.near / 2 <= depths.min() and depths.max() <= spec.scene.far * 2):
        raise Refusal(
            f"{artefact.path}: the PSFs were measured at {depths.min():g} to {depths.max():g} m, "
            f"the optics are for {spec.scene.near:g} to {spec.scene.far:g} m",
            "give the calibration of this design",
        )
    near = np.argsort(depths)
    chosen = near[np.unique(np.round(np.linspace(0, len(near) - 1, min(3, len(near)))).astype(int))]
    on_axis = bank[chosen, int(np.argmin(np.linalg.norm(fields, axis=1)))]
    return on_axis, tuple(float(depth) for depth in depths[chosen])


def _middle(bank: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The middle `window` pixels of windows with odd sides."""
    top, left = (max(0, (side - window) // 2) for side in bank.shape[-2:])
    return bank[..., top : top + window, left : left + window]
