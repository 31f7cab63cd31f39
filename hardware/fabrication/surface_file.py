"""Measured surfaces: ISO 25178-72 X3P, TIFF and NumPy, as heights in metres on square pixels."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal


@dataclass(frozen=True)
class Surface:
    """A measured surface as one sees it: columns run right, rows run down, heights rise towards the viewer.

    ``height`` is ``[row, column]`` metres, NaN where nothing was measured; ``pitch`` is metres.
    """

    height: NDArray[np.float64]
    pitch: float

    @cached_property
    def missing(self) -> NDArray[np.float32]:
        """1 where nothing was measured, else 0."""
        return (~np.isfinite(self.height)).astype(np.float32)

    @cached_property
    def filled(self) -> NDArray[np.float64]:
        """The heights, with their median where nothing was measured."""
        return np.where(self.missing > 0, np.nanmedian(self.height), self.height)


def read_surface(path: Path, *, pitch: float | None = None, unit: float | None = None) -> Surface:
    """Read ``.x3p`` (which states its units), ``.tif`` or ``.npy`` (which do not).

    X3P counts rows upwards (its frame is right-handed); TIFF and NumPy are taken as pictures, rows downwards.

    Args:
        path: the file.
        pitch: metres a pixel, for TIFF and NumPy; or ``pitch_m`` in a sidecar of the same name and ``.json``.
        unit: metres to one unit of the file's values; or ``unit_m`` in the sidecar.

    Raises:
        Refusal: not readable, no units, pixels that are not square, or too few of them.
    """
    suffix = path.suffix.lower()
    if suffix not in (".x3p", ".tif", ".tiff", ".npy"):
        raise Refusal(f"{path} is none of .x3p, .tif and .npy", "export the measurement as X3P")
    if not path.is_file():
        raise Refusal(f"{path} does not exist", "check the path")
    try:
        if suffix == ".x3p":
            surface = _x3p(path)
        else:
            pitch, unit = _units(path, pitch, unit)
            surface = Surface(_plain(path) * unit, pitch)
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(f"{path} cannot be read ({error})", "export the measurement again") from None
    if surface.height.ndim != 2 or min(surface.height.shape) < 32:
        raise Refusal(
            f"{path} holds {' x '.join(map(str, surface.height.shape))} values, not a map of 32 x 32 or more",
            "export the height map, not a profile or an image",
        )
    return surface


def _x3p(path: Path) -> Surface:
    import x3pio

    try:
        record = x3pio.read(path)
    except x3pio.X3pError as error:
        raise ValueError(str(error)) from None
    if not isinstance(record, x3pio.Surface):
        raise Refusal(
            f"{path} holds a {type(record).__name__.lower()}, not a surface", "export the height map"
        )
    points = record.layers[0].points()
    across, along = float(points[0, 1, 0] - points[0, 0, 0]), float(points[1, 0, 1] - points[0, 0, 1])
    height = np.array(points[..., 2], dtype=np.float64)
    if along > 0:
        height = height[::-1]
    if across < 0:
        height = height[:, ::-1]
    return Surface(_squared(height, abs(across), abs(along)), abs(across))


def _squared(height: NDArray[np.float64], across: float, along: float) -> NDArray[np.float64]:
    """Rows resampled (linearly) so that they are as far apart as the columns."""
    if abs(along / across - 1) < 1e-6:
        return height
    wanted = np.arange(0, height.shape[0] - 1 + 1e-9, across / along)
    low = np.minimum(wanted.astype(int), height.shape[0] - 2)
    share = (wanted - low)[:, np.newaxis]
    return np.asarray((1 - share) * height[low] + share * height[low + 1])


def _plain(path: Path) -> NDArray[np.float64]:
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    import tifffile

    return np.asarray(tifffile.imread(path), dtype=np.float64)


def _units(path: Path, pitch: float | None, unit: float | None) -> tuple[float, float]:
    sidecar = path.with_name(path.name + ".json")
    stated = json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.is_file() else {}
    pitch = pitch if pitch is not None else stated.get("pitch_m")
    unit = unit if unit is not None else stated.get("unit_m")
    for value, name in ((pitch, "pixel size (pitch_m)"), (unit, "height unit (unit_m)")):
        if value is None:
            raise Refusal(
                f"{path} does not state its {name}",
                f"give --pitch and --unit, or write them into {sidecar.name}",
            )
        if not (np.isfinite(value) and value > 0):
            raise Refusal(f"the {name} of {path} is {value}", "give a positive number of metres")
    assert pitch is not None
    assert unit is not None
    return float(pitch), float(unit)
