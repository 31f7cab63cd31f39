"""Optics to judge a lens against: what would blur alone, fewer pixels or a mask at random have done?

Each control is as wide as the subject: its mean radius of half the energy (EE50) over depths and colours is
the same. That is a match of blur, not of utility; where utility is measured, the report plots both, so that a
control that is more private only because it is less useful is seen as such.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.spots import Spots
from opticaldr.models.evaluation.views import LowResolutionView, PsfView, View, mean_width
from opticaldr.models.optics import OpticsSpec, noll_to_nm

MILD_BLUR = 1.0
"""Standard deviation in pixels of the positive control's blur: the attackers have to see through it."""

RANDOM_MODES = 15
"""Highest Noll mode of the random mask."""

NARROWEST = 0.4
"""Superpixels: a lens sharper than this is set beside controls of this width, for nothing narrower is resolved."""

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
    width = max(width, NARROWEST)
    # Each mode tilts the rim as much as any other: the slope of R_n^m there is (n(n + 2) - m²)/2.
    rng = np.random.default_rng(seed)
    rim = {j: (n * (n + 2) - m * m) / 2 for j in range(5, RANDOM_MODES + 1) for n, m in [noll_to_nm(j)]}
    masks = {
        "defocus only": {4: 1.0},
        "random Zernikes": {j: rng.standard_normal() / s for j, s in rim.items()},
    }
    # The circle that holds half of a Gaussian has the radius 1.177 sigma; of a square of side k, 0.399 k.
    blur = _matched(lambda s: mean_width(gaussian_view(s, 1, "").bank), width, start=max(width / 1.177, 0.1))
    views: list[View] = [
        gaussian_view(blur, count, "Gaussian blur"),
        LowResolutionView(max(1, round(width / 0.399)), count),
    ]
    for name, shape in masks.items():
        spots = Spots(shape, spec, depths)
        views.append(PsfView(name, spots.bank(_matched(spots.width, width, start=1e-5), window)))
    return views


def _matched(width_of: Callable[[float], float], width: float, start: float, steps: int = 8) -> float:
    """Size at which the width is as wanted: width grows nearly in proportion to size, so correct by the
    ratio.

    The closest size met, if the width is out of reach: because of the window or of the sharpest focus.
    """
    size, best = start, (np.inf, start)
    for _ in range(steps):
        reached = width_of(size)
        error = abs(reached / width - 1)
        best = min(best, (error, size))
        if error < SETTLED:
            break
        size *= float(np.clip(width / max(reached, 1e-3), 0.25, 4.0))
    return best[1]
