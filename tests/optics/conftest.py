"""Optics to test with, and a propagation that shares nothing with the one under test."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opticaldr.models.optics import OpticsSpec, preset


@pytest.fixture(scope="session")
def vary() -> Callable[..., OpticsSpec]:
    """``vary("clinic", pupil__samples=64)``: a preset with fields changed and everything validated again."""

    def make(name: str, **changes: Any) -> OpticsSpec:
        data = preset(name).model_dump()
        for path, value in changes.items():
            *parents, last = path.split("__")
            node = data
            for parent in parents:
                node = node[parent]
            node[last] = value
        return OpticsSpec.model_validate(data)

    return make


@pytest.fixture(scope="session")
def angular_spectrum() -> Callable[..., NDArray[np.complex128]]:
    """Plain padded angular spectrum in complex128, exact for plane waves of every direction.

    The frequency grid is FFT's own (one end only), the kernel e^{ikz√(1 − λ²f²)} not its paraxial expansion.
    """

    def propagate(
        field: NDArray[Any],
        pitch: float,
        wavelength: float,
        distance: float,
        padding: int = 2,
        paraxial: bool = False,
    ) -> NDArray[np.complex128]:
        size = padding * len(field)
        start = (size - len(field)) // 2
        padded = np.zeros((size, size), complex)
        padded[start : start + len(field), start : start + len(field)] = field
        frequency = np.fft.fftfreq(size, pitch)
        square = (wavelength * frequency[:, None]) ** 2 + (wavelength * frequency) ** 2
        cosine = 1 - square / 2 if paraxial else np.sqrt(np.maximum(1 - square, 0))
        return np.fft.ifft2(np.fft.fft2(padded) * np.exp(2j * np.pi * distance / wavelength * cosine))

    return propagate
