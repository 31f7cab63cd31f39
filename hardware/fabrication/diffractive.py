"""What wrapped reliefs share: heights modulo whole waves, and what that does to the light."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from opticaldr.hardware.fabrication.process import Process, Violation, Wave
from opticaldr.hardware.fabrication.relief import Relief, stamped


class Wrapped(Process):
    """A process that keeps the height only modulo ``orders`` waves."""

    wrapped: ClassVar[bool] = True

    orders: int = Field(1, ge=1, le=50, description="waves of depth the relief wraps at (1: one wave)")
    min_feature: float = Field(gt=0, description="narrowest line the process resolves (m)")

    @property
    def waves(self) -> int | None:
        """Waves of depth at which the relief wraps."""
        return self.orders

    def span(self, wave: Wave) -> float:
        """The height at which the relief wraps, metres."""
        return self.orders * wave.depth

    def folded(self, relief: Relief, wave: Wave, levels: int) -> Relief:
        """``relief`` modulo the span in ``levels`` steps; the top step around the aperture, the mark at zero.

        Level k stands at k/levels of the span; what rounds up to the span itself is level 0.
        """
        step = self.span(wave) / levels
        level = np.mod(np.rint(relief.height / step), levels)
        level[~relief.aperture()] = levels - 1
        return stamped(replace(relief, height=level * step), self.view, height=0.0)

    def zones(self, relief: Relief, wave: Wave) -> list[Violation]:
        """Places where a zone, the distance in which the relief climbs one span, is too narrow."""
        from opticaldr.hardware.fabrication.rules import interior, regions, slope

        width = self.span(wave) / np.maximum(slope(relief), 1e-12)
        bad = interior(relief) & (width < self.min_feature)
        return regions(
            "minimum feature", bad, width, self.min_feature, "m", relief, self.view, worst="smallest"
        )


def blazed_efficiency(detuning: float, order: int = 1) -> float:
    """Share of the light that a continuous blaze sends into ``order``: sinc²(α − m).

    ``detuning`` α is the depth of a zone in waves at the light's wavelength. Source: D. A. Buralli,
    G. M. Morris, J. R. Rogers, Appl. Opt. 28, 976 (1989).
    """
    return float(np.sinc(detuning - order) ** 2)


def stepped_efficiency(levels: int, detuning: float, order: int = 1) -> float:
    """Share of the light that ``levels`` equal steps to a zone send into ``order``.

    η = [ sinc(m/N) · sin π(α − m) / (N sin(π(α − m)/N)) ]², which is sinc²(1/N) at α = m = 1. Source:
    G. J. Swanson, MIT Lincoln Laboratory technical report 854 (1989) and 914 (1991).
    """
    offset = detuning - order
    denominator = levels * np.sin(np.pi * offset / levels)
    grating = 1.0 if abs(denominator) < 1e-12 else np.sin(np.pi * offset) / denominator
    return float((np.sinc(order / levels) * grating) ** 2)
