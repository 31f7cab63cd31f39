"""A recording: a folder of raw frames as files, and beside them a sidecar with the settings of each.

    recording.json      the camera, and for every frame its file, exposure, gain, black level, temperature, timestamp
    frame-00000.npy     uint16 [y, x]
    …

A sidecar written by hand may be `recording.toml`; frames may also be `.npz` (one array), or 16-bit PNG or TIFF.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.camera import Camera, CameraInfo, RawFrame

SIDECARS = ("recording.json", "recording.toml")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=0, le=65535)]
Side = Annotated[int, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordedFrame(_Part):
    """One frame: its file, and seconds, gain, raw black level, kelvin (None if unknown) and seconds of that frame."""

    file: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    exposure: Positive
    gain: Positive
    black_level: Level
    temperature: float | None = None
    timestamp: float

    def read(self, folder: Path, camera: RecordedCamera) -> RawFrame:
        """Load the frame.

        Raises:
            Refusal: its file is missing or is not what the sidecar says.
        """
        path = folder / self.file
        raw = _read_pixels(path)
        if raw.dtype not in (np.uint8, np.uint16) or raw.shape != camera.shape:
            raise Refusal(
                f"{path} holds {raw.dtype} {list(raw.shape)}, its sidecar says uint16 {list(camera.shape)}",
                "record it again, or mend the sidecar",
            )
        if raw.max(initial=0) >= 2**camera.bits:
            raise Refusal(f"{path} has values beyond {camera.bits} bits", "mend bits in the sidecar")
        temperature = math.nan if self.temperature is None else self.temperature
        return RawFrame(
            raw.astype(np.uint16), self.exposure, self.gain, self.black_level, temperature, self.timestamp
        )


class RecordedCamera(_Part):
    """What the camera was; see `CameraInfo`."""

    name: str
    shape: tuple[Side, Side]
    bits: Annotated[int, Field(ge=1, le=16)]
    bayer: Literal["RGGB", "BGGR", "GRBG", "GBRG"] | None = None
    black_level: Level
    linear: bool = True

    @property
    def info(self) -> CameraInfo:
        """The same as a camera says it."""
        return CameraInfo(**self.model_dump())


class Recording(_Part):
    """The contents of a sidecar."""

    camera: RecordedCamera
    frames: Annotated[tuple[RecordedFrame, ...], Field(min_length=1)]


def is_recording(folder: Path) -> bool:
    """Whether there is a sidecar in the folder."""
    return any((folder / name).is_file() for name in SIDECARS)


def read_recording(folder: Path) -> Recording:
    """Read the sidecar of a recording.

    Raises:
        Refusal: there is none, or it cannot be read (the key is named).
    """
    for path in (folder / name for name in SIDECARS):
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            return Recording.model_validate(
                json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            )
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise Refusal(f"{path}: {key}: {first['msg']}", "mend this key, or record again") from None
        except (OSError, ValueError) as error:
            raise Refusal(f"{path} cannot be read ({error})", "record again") from None
    raise Refusal(f"{folder} holds no {' or '.join(SIDECARS)}", "give a folder made by opticaldr camera snap")


def record(
    camera: Camera,
    folder: Path,
    count: int,
    *,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Recording:
    """Take `count` frames of an open camera and write them as a recording, whole or not at all.

    Raises:
        Refusal: the folder is there already or cannot be made, or the camera fails.
    """
    if folder.exists():
        raise Refusal(f"{folder} exists already", "name another --out or remove it")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".recording-", dir=folder.absolute().parent))
    except OSError as error:
        raise Refusal(f"cannot write {folder} ({error.strerror})", "name another --out") from None
    try:
        frames = []
        for number in range(count):
            frame = camera.capture()
            file = f"frame-{number:05d}.npy"
            _write(draft / file, frame.raw)
            frames.append(
                RecordedFrame(
                    file=file,
                    exposure=frame.exposure,
                    gain=frame.gain,
                    black_level=frame.black_level,
                    temperature=None if math.isnan(frame.temperature) else frame.temperature,
                    timestamp=frame.timestamp,
                )
            )
            progress("record", number + 1, count)
        info = camera.info
        recording = Recording(camera=RecordedCamera(**vars(info)), frames=tuple(frames))
        (draft / SIDECARS[0]).write_text(recording.model_dump_json(indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return recording


def _write(path: Path, raw: NDArray[np.uint16]) -> None:
    with path.open("wb") as stream:
        np.save(stream, raw)
        stream.flush()
        os.fsync(stream.fileno())


def _read_pixels(path: Path) -> NDArray[np.generic]:
    try:
        if path.suffix in (".npy", ".npz"):
            loaded = np.load(path, allow_pickle=False)
            if path.suffix == ".npy":
                return np.asarray(loaded)
            with loaded:
                (only,) = loaded.files
                return np.asarray(loaded[only])
        import cv2

        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, EOFError) as error:
        raise Refusal(f"{path} cannot be read ({error})", "record it again") from None
    if picture is None:
        raise Refusal(f"{path} is missing or no picture", "record it again, or mend the sidecar")
    return np.asarray(picture)
