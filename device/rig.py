"""What eye looks through: a real camera, or the simulated rig with a scene before the bundle's measured
optics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.artefacts.bundle import PSF_BANK, BundleSpec
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.device.seccomp import Device
from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.hardware.cameras import Camera, CameraInfo, RawFrame, ReplayCamera
from opticaldr.hardware.cameras.errors import FramesEnded
from opticaldr.hardware.cameras.scene import SceneCamera, SceneEnded
from opticaldr.hardware.rig import (
    SIMULATED,
    CameraPart,
    Picamera2Part,
    ReplayPart,
    SimulatedPart,
    camera_of,
    load_rig,
)
from opticaldr.hardware.world import World
from opticaldr.models.optics import OpticsSpec, face_width

OPTICS = "optics.json"
REPLAY = "replay:"

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Rig:
    """A camera that is not open yet, and what must be known about it to confine eye.

    Attributes:
        camera: gives raw frames of the bundle's camera mode.
        simulated: whether its frames are computed.
        devices: how camera and board are spoken to.
        board: watches cover and temperature and moves the shutter, not open yet; None if there is none.
    """

    camera: Camera
    simulated: bool
    devices: tuple[Device, ...] = ()
    board: Board | None = None


class PlayedCamera:
    """Plays a recording that is read beforehand, because eye can open no file while it looks.

    The first frame that it gives is a blank one, to rehearse with.

    Args:
        source: folder of a raw recording.
        frames: how many are wanted at most; None for all there are.
    """

    def __init__(self, source: Path, frames: int | None) -> None:
        self._recorded, self._wanted = ReplayCamera(source), frames
        self._frames: Iterator[RawFrame] = iter(())

    def __enter__(self) -> Self:
        with self._recorded as recorded:
            self.info: CameraInfo = recorded.info
            frames: list[RawFrame] = []
            with suppress(FramesEnded):
                while self._wanted is None or len(frames) < self._wanted:
                    frames.append(recorded.capture())
        blank = replace(frames[0], raw=np.full_like(frames[0].raw, self.info.black_level))
        self._frames = chain([blank], frames)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames = iter(())

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Frames keep the settings that they were taken at."""

    def capture(self) -> RawFrame:
        """The next frame; `SceneEnded` after the last."""
        frame = next(self._frames, None)
        if frame is None:
            raise SceneEnded("the recording has no more frames", "record more of them")
        return frame


@contextmanager
def open_rig(
    bundle: Artefact,
    spec: BundleSpec,
    name: str | Path,
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
        name: ``simulated``, or a RIG.toml that names a camera and a board.
        source: what is before the simulated camera: ``simulated:N`` for subject N, a video, a folder of
            pictures, or the number of a webcam. The shorter side of a picture fills the frame.
            ``replay:DIR`` plays a raw recording in place of a camera.
        frames: how many will be wanted; pictures of a folder are held in memory, because eye can open none
            later.
        unmask_at: frame before which the simulated rig takes its mask off, not counting the blank one.
        seed: of the simulated subject and the sensor's noise.

    Raises:
        Refusal: no such rig or source.
    """
    part: CameraPart = SimulatedPart()
    port = SIMULATED
    if name != SIMULATED:
        described = load_rig(name)
        part, port = described.camera, described.board.port
    if source.startswith(REPLAY):
        part = ReplayPart(driver="replay", source=Path(source.removeprefix(REPLAY)))
    if isinstance(part, ReplayPart):
        yield Rig(PlayedCamera(part.source, frames), simulated=True)
        return
    if not isinstance(part, SimulatedPart):
        sensor = OpticsSpec.model_validate_json(bundle.file(OPTICS).read_bytes()).sensor
        speech: Device = "libcamera" if isinstance(part, Picamera2Part) else "v4l2"
        real = port != SIMULATED
        yield Rig(
            camera_of(part, sensor=sensor),
            simulated=False,
            devices=(speech, "serial") if real else (speech,),
            board=Board(port) if real else None,
        )
        return
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
        yield Rig(camera, simulated=True, devices=("v4l2",) if source.isdecimal() else (), board=board)


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
