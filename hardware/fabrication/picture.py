"""Relief as grey values: 8-bit BMP, 16-bit PNG and TIFF, with the pixel size in the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_METRES_PER_INCH = 0.0254


def write_picture(path: Path, grey: NDArray[np.unsignedinteger], pitch: float) -> None:
    """Write uint8 or uint16 ``[row, column]`` as ``.bmp`` (8 bit only) or ``.png``."""
    from PIL import Image

    resolution = _METRES_PER_INCH / pitch
    Image.fromarray(np.ascontiguousarray(grey)).save(path, dpi=(resolution, resolution))


def write_tiff(path: Path, grey: NDArray[np.unsignedinteger], pitch: float, sidecar: dict[str, Any]) -> None:
    """Write uint16 TIFF, deflate-compressed; the sidecar is repeated in its description."""
    import tifffile

    per_centimetre = 0.01 / pitch
    tifffile.imwrite(
        path,
        np.ascontiguousarray(grey),
        photometric="minisblack",
        compression="zlib",
        description=json.dumps(sidecar),
        resolution=(per_centimetre, per_centimetre),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )
