"""What eye looks through: a real camera, or the simulated rig with a scene before the bundle's measured
optics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.artefacts.bundle import PSF_BANK, BundleSpec
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.errors import Refusal
from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.hardware.cameras import Camera
from opticaldr.hardware.cameras.scene import SceneCamera
from opticaldr.hardware.world import World
from opticaldr.models.optics import OpticsSpec, face_width

RIGS = ("simulated",)
OPTICS = "optics.json"

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Rig:
    """A camera that is not open yet, and what must be known about it to confine eye.

    Attributes:
        camera: gives raw frames of the bundle's camera mode.
        simulated: whether its frames are computed.
        video: whether it is driven through Video4Linux.
        board: watches cover and temperature and moves the shutter, not open yet; None if there is none.
    """

    camera: Camera
    simulated: bool
    video: bool
    board: Board | None = None


@contextmanager
def open_rig(
    bundle: Artefact,
    spec: BundleSpec,
    name: str,
    source: str,
    *,
    frames: int | None = None,
    unmask_at: int | None = None,
    seed: int = 0,
) -> Iterator[Rig]:
    """Get a rig ready for the length of a ``with`` block. Its first frame is blank, to rehearse with.

    Args:
        bundle: says through which optics the simulated rig looks.
        spec: its ``bundle.json``.
        name: one of `RIGS`.
        source: what is before the simulated camera: ``simulated:N`` for subject N, a video, a folder of
            pictures, or the number of a webcam. The shorter side of a picture fills the frame.
        frames: how many will be wanted; pictures of a folder are held in memory, because eye can open none
            later.
        unmask_at: frame before which the simulated rig takes its mask off, not counting the blank one.
        seed: of the simulated subject and the sensor's noise.

    Raises:
        Refusal: no such rig or source.
    """
    if name not in RIGS:
        raise Refusal(f"there is no rig called {name}", f"choose one of: {', '.join(RIGS)}")
    import cv2

    from opticaldr.models.data.sources import open_source

    cv2.setNumThreads(1)
    optics = OpticsSpec.model_validate_json(bundle.file(OPTICS).read_bytes())
    depth, psf = _middle_psf(bundle, spec)
    shape = optics.sensor.binned_shape
    face = face_width(optics, depth)
    with open_source(source, fps=spec.window.fps, size=shape, face_width=face, seed=seed) as scene:
        pictures: Iterator[Picture] = (_fit(p, shape) for p in at_pace(scene.frames, spec.window.fps))
        if Path(source).is_dir():
            pictures = iter(list(islice(pictures, frames)))
        world = World(seed=seed)
        first = next(pictures)  # whatever the source still needs to open or import, it does now
        camera = SceneCamera(
            chain([np.zeros_like(first), first], pictures),
            psf,
            optics.sensor,
            unmask_at=None if unmask_at is None else unmask_at + 1,
            seed=seed,
            world=world,
            period=1 / spec.window.fps,
        )
        board = Board(SimulatedBoard(world))
        yield Rig(camera, simulated=True, video=source.isdecimal(), board=board)


def at_pace(frames: Iterable[tuple[float, Picture]], fps: float) -> Iterator[Picture]:
    """The picture that is on show at each tick: some are shown twice, some never.

    Args:
        frames: pictures and the seconds from which on each is on show, increasing.
        fps: ticks a second.
    """
    shown, ticks = None, 0
    for seconds, picture in frames:
        while shown is not None and ticks / fps < seconds:
            yield shown
            ticks += 1
        shown = picture
    if shown is not None:
        yield shown


def _fit(picture: Picture, shape: tuple[int, int]) -> Picture:
    """The largest centred part of a picture ``[y, x, 3]`` with the proportions of ``shape``, at that size."""
    if picture.shape[:2] == shape:
        return picture
    import cv2

    rows, columns = picture.shape[:2]
    scale = min(rows / shape[0], columns / shape[1])
    height, width = max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
    top, left = (rows - height) // 2, (columns - width) // 2
    part = picture[top : top + height, left : left + width]
    return np.asarray(cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _middle_psf(bundle: Artefact, spec: BundleSpec) -> tuple[float, Picture]:
    """The bank's middle depth (metres), and its PSF nearest to the axis, at superpixels ``[colour, y,
    x]``."""
    with np.load(bundle.file(PSF_BANK)) as stored:
        bank, depths, fields = stored["psf"], np.atleast_1d(stored["depths"]), np.atleast_2d(stored["fields"])
    middle = np.argsort(depths)[len(depths) // 2]
    on_axis = np.argmin(np.linalg.norm(fields, axis=1))
    psf = superpixel_bank(bank[middle, on_axis], spec.camera.binning)
    return float(depths[middle]), psf.astype(np.float32)
