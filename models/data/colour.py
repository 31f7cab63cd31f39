"""sRGB and linear light. Optics add intensities, so everything in this house is linear; files are not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(encoded: NDArray[Any]) -> NDArray[Any]:
    """Decode sRGB values in [0, 1], or bytes, to linear light in [0, 1] (IEC 61966-2-1).

    Bytes and float32 give float32, anything else float64. The shape is kept.
    """
    values = np.asarray(encoded)
    if values.dtype == np.uint8:
        return np.asarray(_LINEAR_OF_BYTE[values])
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    curve = np.maximum((values + 0.055) / 1.055, 0.0) ** 2.4
    return np.asarray(np.where(values <= 0.04045, values / 12.92, curve), dtype=values.dtype)


def linear_to_srgb(linear: NDArray[Any]) -> NDArray[Any]:
    """Encode linear light in [0, 1] as sRGB values in [0, 1]; the exact inverse of `srgb_to_linear`."""
    values = np.asarray(linear)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    curve = 1.055 * np.maximum(values, 0.0) ** (1 / 2.4) - 0.055
    return np.asarray(np.where(values <= 0.0031308, values * 12.92, curve), dtype=values.dtype)


def srgb_bytes(linear: NDArray[Any]) -> NDArray[np.uint8]:
    """Encode linear light as 8-bit sRGB for a screen or a file; values outside [0, 1] are clipped."""
    encoded = linear_to_srgb(np.clip(linear, 0.0, 1.0))
    return np.round(255.0 * encoded).astype(np.uint8)


_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256, dtype=np.float64) / 255.0).astype(np.float32)
