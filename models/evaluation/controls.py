"""Optics to judge a lens against: what would blur alone, fewer pixels or a mask at random have done?

Each control is as wide as the subject: its mean radius of half the energy (EE50) over depths and colours is
the same. That is a match of blur, not of utility; where utility is measured, the report plots both, so that a
control that is more private only because it is less useful is seen as such.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.views import LowResolutionView, PsfView, View, mean_width
from opticaldr.models.optics import OpticsSpec, noll_to_nm, psf, psf_bank, zernike_height

MILD_BLUR = 1.0
"""Standard deviation in pixels of the positive control's blur: the attackers have to see through it."""

RANDOM_MODES = 15
"""Highest Noll mode of the random mask."""

SETTLED = 0.03
"""Relative error at which two widths count as equal."""


def gaussian_psf(sigma: float, side: int) -> NDArray[np.float64]:
    """Energy fractions ``[side, side]`` of a Gaussian, integrated over pixels."""
    from scipy.special import ndtr

    edges = np.arange(side + 1) - side / 2
    line = np.diff(ndtr(edges / sigma))
    return np.asarray(np.outer(line, line))


def gaussian_view(sigma: float, depths: int, name: str) -> PsfView:
    """The same Gaussian blur at every depth and colour."""
    side = 2 * int(np.ceil(4 * sigma)) + 1
    bank = np.broadcast_to(gaussian_psf(sigma, side), (depths, 3, side, side))
    return PsfView(name, bank.astype(np.float32))


def positive_control(depths: int) -> PsfView:
    """Blur so mild that an attack which cannot break it is no attack."""
    return gaussian_view(MILD_BLUR, depths, "mild blur (positive control)")


def matched_controls(
    width: float, spec: OpticsSpec, depths: Sequence[float], *, window: int, seed: int
) -> list[View]:
    """Gaussian, low resolution, defocus alone and a random mask, all of the same mean EE50.

    Args:
        width: mean EE50 of the subject, in superpixels.
        spec: its optics; a spec without one that images sharply at some depth still serves.
        depths: of the evaluation.
        window: odd side of the computed PSFs.
        seed: of the random mask.
    """
    count = len(depths)
    rng = np.random.default_rng(seed)
    floor = dict(spec.mask.start)
    # Each mode tilts the rim as much as any other: the slope of R_n^m there is (n(n + 2) - m²)/2.
    rim = {j: (n * (n + 2) - m * m) / 2 for j in range(5, RANDOM_MODES + 1) for n, m in [noll_to_nm(j)]}
    direction = {j: float(rng.standard_normal() / slope) for j, slope in rim.items()}
    # Twice the samples, so that a control may be steeper than the lens it is set beside.
    fine = spec.pupil.model_copy(update={"samples": 2 * spec.pupil.samples})
    spec = spec.model_copy(update={"pupil": fine})

    def height(shape: dict[int, float], size: float) -> FloatArray:
        coefficients = {j: floor.get(j, 0.0) + size * shape.get(j, 0.0) for j in floor.keys() | shape.keys()}
        return zernike_height(coefficients, spec).astype(np.float32)

    def width_of(shape: dict[int, float], size: float) -> float:
        # One wavelength is enough, and the shortest is the one that has to be sampled best.
        surface, shortest = height(shape, size), min(spec.sensor.wavelengths)
        psfs = [psf(surface, spec, (shortest,), depth, shape=(window, window)) for depth in depths]
        return mean_width(np.stack(psfs))

    def bank(shape: dict[int, float]) -> FloatArray:
        size = _matched(lambda s: width_of(shape, s), width, start=2e-6)
        return np.asarray(psf_bank(height(shape, size), spec, depths, shape=(window, window)), np.float32)

    # The circle that holds half of a Gaussian has the radius 1.177 sigma; of a square of side k, 0.399 k.
    blur = _matched(lambda s: mean_width(gaussian_view(s, 1, "").bank), width, start=max(width / 1.177, 0.1))
    return [
        gaussian_view(blur, count, "Gaussian blur"),
        LowResolutionView(max(1, round(width / 0.399)), count),
        PsfView("defocus only", bank({4: 1.0})),
        PsfView("random Zernikes", bank(direction)),
    ]


def _matched(width_of: Callable[[float], float], width: float, start: float, steps: int = 8) -> float:
    """Size at which the width is as wanted: width grows nearly in proportion to size, so correct by the
    ratio.

    The closest size met, if the width is out of reach: because of the window, of the sharpest focus, or
    because the height map would be too steep for its grid.
    """
    size, best = start, (np.inf, start)
    for _ in range(steps):
        try:
            reached = width_of(size)
        except Refusal:  # sampled too coarsely at this size
            size *= 0.7
            continue
        error = abs(reached / width - 1)
        best = min(best, (error, size))
        if error < SETTLED:
            break
        size *= float(np.clip(width / max(reached, 1e-3), 0.25, 4.0))
    return best[1]
