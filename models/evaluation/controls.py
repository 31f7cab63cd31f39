"""Optics to judge a lens against: what would blur alone, fewer pixels or a mask at random have done?

A control is of use only at the same utility: any blur hides faces if it may hide everything. So each kind of
control is a family over one strength, its mean radius of half the energy (EE50) over depths and colours, and
the strength is sought at which as much of an expression can be read as through the lens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.metrics import Interval
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


STRIDE = 1.6
"""Factor between strengths until two of them enclose the lens's utility."""


@dataclass(frozen=True)
class Family:
    """One kind of control: from a mean EE50 in superpixels to the optic of that width."""

    name: str
    at_width: Callable[[float], View]


@dataclass(frozen=True)
class Match:
    """A control and how well its utility meets the lens's.

    Attributes:
        view: the control.
        width: its strength, the mean EE50 in superpixels that was asked of its family.
        goal: utility of the lens.
        reached: utility of the control.
        tried: every strength with the utility found there.
    """

    view: View
    width: float
    goal: Interval
    reached: Interval
    tried: dict[float, float] = field(default_factory=dict)

    @property
    def within(self) -> bool:
        """Whether the control's utility lies within the lens's interval."""
        return self.goal.low <= self.reached.value <= self.goal.high


def families(
    spec: OpticsSpec,
    depths: Sequence[float],
    *,
    window: int,
    seed: int,
    start: Mapping[int, float] | None = None,
) -> list[Family]:
    """Gaussian, low resolution, defocus alone, a random mask and, if given, what the lens was before it learned.

    Args:
        spec: the subject's optics; a spec without one that images sharply at some depth still serves.
        depths: of the evaluation, metres.
        window: odd side of the computed PSFs.
        seed: of the random mask.
        start: the surface that learning began with, Noll index to metres.
    """
    count = len(depths)
    defocus = Spots({4: 1.0}, spec, depths)
    mask = Spots(at_random(np.random.default_rng(seed)), spec, depths)

    def gaussian(width: float) -> View:
        # The circle that holds half of a Gaussian has the radius 1.177 sigma: less where pixels are coarse.
        def reached(sigma: float) -> float:
            return mean_width(gaussian_view(sigma, 1, "").bank)

        return gaussian_view(sized(reached, width, start=max(width / 1.177, 0.1)), count, "Gaussian blur")

    def traced(name: str, spots: Spots, size: float = 1e-5) -> Family:
        def view(width: float) -> View:
            return PsfView(name, spots.bank(sized(spots.width, width, start=size), window))

        return Family(name, view)

    kinds = [
        Family("Gaussian blur", gaussian),
        # The circle that holds half of a square of side k has the radius 0.399 k.
        Family("low resolution", lambda width: LowResolutionView(max(width / 0.399, 1.0), count)),
        traced("defocus only", defocus),
        traced("random Zernikes", mask),
    ]
    if start is not None:
        kinds.append(traced("start, not learned", Spots(start, spec, depths), size=1.0))
    return kinds


def at_random(rng: np.random.Generator) -> dict[int, float]:
    """A random mask without tilt and defocus: Noll index to coefficient, in any unit.

    Each mode tilts the rim as much as any other: the slope of R_n^m there is (n(n + 2) - m²)/2.
    """
    rim = {j: (n * (n + 2) - m * m) / 2 for j in range(5, RANDOM_MODES + 1) for n, m in [noll_to_nm(j)]}
    return {j: rng.standard_normal() / slope for j, slope in rim.items()}


def match(
    family: Family, goal: Interval, start: float, utility: Callable[[View], Interval], *, tries: int
) -> Match:
    """The control of a family whose utility is closest to the lens's: stepping, then bisection in log strength.

    It ends within the inner half of the lens's interval, or after `tries` strengths with the closest of them.

    Args:
        family: kind of control.
        goal: utility of the lens, with its interval.
        start: mean EE50 in superpixels to begin with, that of the lens.
        utility: of an optic; it falls as optics grow wider.
        tries: strengths tried at the most.
    """
    width, closest, tried = max(start, NARROWEST), None, dict[float, float]()
    useful, useless = 0.0, np.inf  # widest with more utility than the lens, narrowest with less
    for _ in range(tries):
        view = family.at_width(width)
        found = Match(view, width, goal, utility(view), tried)
        off = found.reached.value - goal.value
        tried[width] = found.reached.value
        if closest is None or abs(off) < abs(closest.reached.value - goal.value):
            closest = found
        spread = (goal.high - goal.value) if off > 0 else (goal.value - goal.low)
        if abs(off) <= spread / 2:
            break
        useful, useless = (max(useful, width), useless) if off > 0 else (useful, min(useless, width))
        enclosed = 0 < useful < useless < np.inf
        width = float(np.sqrt(useful * useless)) if enclosed else width * (STRIDE if off > 0 else 1 / STRIDE)
    assert closest is not None
    return closest


def sized(width_of: Callable[[float], float], width: float, start: float, steps: int = 8) -> float:
    """Size at which ``width_of(size)`` is `width`: width grows nearly in proportion to size, so correct by the
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
