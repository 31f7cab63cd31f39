"""Sag as text for diamond turning and lens design: OpticStudio grid sag (.dat) and XYZ points."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.fabrication import decimals
from opticaldr.hardware.fabrication.relief import Side

_BAND = 64
_MILLIMETRES = 1e3


def write_grid_sag(path: Path, height: NDArray[np.float64], pitch: float, relief_faces: Side) -> None:
    """Write an OpticStudio grid sag file, in millimetres.

    OpticStudio's frame for a surface: Z along the light (towards the sensor), Y up, X to the right as seen
    from the sensor; so sag = −height of a relief towards the scene. Rows start at −X, +Y. The derivatives
    are left at zero, which makes OpticStudio compute them.

    Args:
        path: the ``.dat`` file.
        height: ``[y, x]`` metres, as seen from the sensor.
        pitch: metres.
        relief_faces: on which side of the plate the relief is.

    Source: Ansys OpticStudio user guide, "Grid Sag", importing grid data.
    """
    rows, columns = height.shape
    to_sag = (-1 if relief_faces == "scene" else 1) * _MILLIMETRES
    step = f"{pitch * _MILLIMETRES:.9f}"
    with path.open("wb") as stream:
        stream.write(f"{columns} {rows} {step} {step} 0 0.0 0.0\n".encode())
        for top in range(0, rows, _BAND):
            sag = height[top : top + _BAND].ravel() * to_sag
            stream.write(decimals.lines("{} 0 0 0 0\n", [decimals.signed(sag, 3, 8)]))


def write_xyz(path: Path, seen: NDArray[np.float64], pitch: float, title: str) -> None:
    """Write ``x y z`` lines in millimetres; X right, Y up, Z out of the material, looking at the relief.

    Args:
        path: the ``.xyz`` file; its first lines start with ``#`` and state frame and unit.
        seen: heights in metres, rows from +Y to −Y.
        pitch: metres.
        title: first comment line.
    """
    rows, columns = seen.shape
    x = (np.arange(columns) - (columns - 1) / 2) * pitch * _MILLIMETRES
    y = ((rows - 1) / 2 - np.arange(rows)) * pitch * _MILLIMETRES
    x_text, y_text = decimals.signed(x, 3, 7), decimals.signed(y, 3, 7)
    with path.open("wb") as stream:
        stream.write(f"# {title}\n# x y z in mm; X right, Y up, Z out of the material\n".encode())
        for top in range(0, rows, _BAND):
            z = seen[top : top + _BAND]
            fields = [
                np.tile(x_text, (len(z), 1)),
                np.repeat(y_text[top : top + _BAND], columns, axis=0),
                decimals.signed(z.ravel() * _MILLIMETRES, 3, 8),
            ]
            stream.write(decimals.lines("{} {} {}\n", fields))
