"""Laying a measured surface onto the expected one: shift, rotation, mirror, scale, tilt and piston."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.relief import Heights, Relief
from opticaldr.hardware.fabrication.surface_file import Surface

_COARSE = 96
"""Samples across the relief in the search over all rotations."""
_ANGLES = 240
_STEPS = np.array([0.05, 0.05, 0.05, 0.02])
"""Natural steps of the refinement: angle in radians, shift across and down in aperture radii, scale."""
_REACH = np.array([0.35, 0.2, 0.2, 0.1])
"""How far the refinement may go from its start, in the same units; a fifteenth of it in the last steps."""


@dataclass(frozen=True)
class Pose:
    """Where the expected surface lies in the measured file.

    A point (x, y) of the mask, seen from the sensor, lies in the file at s·R(angle)·M·(x, y) + (shift_x,
    shift_y) from the file's middle, x right and y down, where M mirrors x if ``mirrored``. The file's
    heights are the mask's plus ``piston + tilt_x·x + tilt_y·y`` (metres and slopes).
    """

    mirrored: bool
    angle: float
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    tilt_x: float = 0.0
    tilt_y: float = 0.0
    piston: float = 0.0

    def placed(self, x: Heights, y: Heights) -> tuple[Heights, Heights]:
        """File positions of mask positions, metres."""
        across = -x if self.mirrored else x
        cosine, sine = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        return cosine * across - sine * y + self.shift_x, sine * across + cosine * y + self.shift_y


def register(
    expected: Relief,
    mark: NDArray[np.bool_],
    surface: Surface,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> tuple[Pose, float, bool]:
    """Find the pose, the share of the expected variance it explains, and whether another explains as much.

    The last is true of a relief that looks the same turned or mirrored: its orientation cannot be told.

    All rotations, mirrored and not, are tried at low resolution by masked normalised cross-correlation
    (D. Padfield, IEEE Trans. Image Process. 21, 2706 (2012)); the best few are refined by least squares.

    Args:
        expected: the relief that should be there.
        mark: pixels around the orientation mark, which decide where the relief itself is symmetric.
        surface: the measurement.
        progress: told about both stages.

    Raises:
        Refusal: the measured field is smaller than the aperture, or nothing in it looks like the mask.
    """
    rows, columns = (side * surface.pitch for side in surface.height.shape)
    if min(rows, columns) < 1.6 * expected.radius:
        raise Refusal(
            f"the surface is {columns * 1e3:.3f} x {rows * 1e3:.3f} mm, the aperture "
            f"{2e3 * expected.radius:.3f} mm",
            "measure the whole aperture (stitch fields), and check the pixel size",
        )
    if max(rows, columns) > 40 * expected.radius:
        raise Refusal(
            f"the surface is {columns * 1e3:.3f} x {rows * 1e3:.3f} mm, the aperture "
            f"{2e3 * expected.radius:.3f} mm",
            "check the pixel size of the measurement",
        )
    candidates = _coarse(expected, mark, surface, progress)
    # A wrapped relief looks right only within half a fringe: the pose is found on blurred surfaces first.
    blur = expected.width / _COARSE / 2
    soft, faint = _blurred(expected, blur), _blurred_surface(surface, blur)
    tried: list[tuple[float, Pose]] = []
    for number, pose in enumerate(candidates):
        pose, explained = _refined(soft, mark, faint, pose, 64, 1.0)
        tried.append((explained, pose))
        progress("refining", number + 1, len(candidates) + 2)
    tried.sort(key=lambda one: -one[0])
    explained, pose = tried[0]
    ambiguous = any(other > explained - 0.01 and _apart(turned, pose) for other, turned in tried[1:])
    nothing = np.zeros_like(mark)
    soft, faint = _blurred(expected, blur / 4), _blurred_surface(surface, blur / 4)
    pose, _ = _refined(soft, nothing, faint, pose, 128, 0.25)
    progress("refining", len(candidates) + 1, len(candidates) + 2)
    sharp = min(0.25, expected.pitch / blur)
    pose, explained = _refined(expected, nothing, surface, pose, 320, sharp)
    progress("refining", len(candidates) + 2, len(candidates) + 2)
    if explained < 0.5:
        raise Refusal(
            f"the surface explains {max(explained, 0):.0%} of the mask's relief at best: it is another "
            f"part, or "
            "its heights or pixel size are wrong",
            "check the units of the measurement and which mask it is of",
        )
    return pose, explained, ambiguous


def resampled(expected: Relief, surface: Surface, pose: Pose) -> Heights:
    """The measured heights on the expected grid without tilt and piston; NaN where nothing was measured."""
    axis = expected.axis()
    x, y = np.meshgrid(axis, axis)
    measured = _sampled(surface, *pose.placed(x, y), order=3)
    return measured - (pose.piston + pose.tilt_x * x + pose.tilt_y * y)


def _sampled(surface: Surface, x: Heights, y: Heights, order: int = 1) -> Heights:
    """The measured heights at file positions; NaN outside the file and beside missing pixels."""
    from scipy.ndimage import map_coordinates

    rows, columns = surface.height.shape
    at = np.stack([y / surface.pitch + (rows - 1) / 2, x / surface.pitch + (columns - 1) / 2])
    values = map_coordinates(surface.filled, at, order=order, mode="nearest")
    gone = map_coordinates(surface.missing, at, order=1, mode="constant", cval=1.0) > 1e-3
    return np.where(gone, np.nan, values)


def _coarse(
    expected: Relief, mark: NDArray[np.bool_], surface: Surface, progress: Callable[[str, int, int], None]
) -> list[Pose]:
    """The most promising rotations with their shifts, best first."""
    import cv2
    from scipy.ndimage import zoom

    pitch = expected.width / _COARSE
    small = _shrunk(np.nan_to_num(expected.height), expected.pitch, pitch)
    inside = _shrunk((expected.aperture() | mark).astype(np.float64), expected.pitch, pitch) > 0.5
    missing = ~np.isfinite(surface.height)
    level = np.where(missing, 0.0, surface.height - _plane(surface.height))
    shrink = surface.pitch / pitch
    kernel = max(1, round(1 / shrink))
    weight = cv2.blur((~missing).astype(np.float64), (kernel, kernel))
    image = cv2.blur(level, (kernel, kernel)) / np.maximum(weight, 1e-9)
    image, present = zoom(image, shrink, order=1), zoom(weight, shrink, order=1) > 0.5
    side = small.shape[0]
    padded = [int(2 ** np.ceil(np.log2(extent + side))) for extent in image.shape]
    correlate = _Correlator(np.where(present, image, 0), present, (padded[0], padded[1]))
    found: list[tuple[float, Pose]] = []
    centre = (side - 1) / 2
    plane_free = np.where(inside, small - _plane(np.where(inside, small, np.nan)), 0.0)
    for turn in range(2 * _ANGLES):
        mirrored, angle = bool(turn % 2), 2 * np.pi * (turn // 2) / _ANGLES
        pose = Pose(mirrored, angle)
        base = plane_free[:, ::-1] if mirrored else plane_free
        matrix = cv2.getRotationMatrix2D((centre, centre), -np.degrees(angle), 1.0)
        template = cv2.warpAffine(base, matrix, (side, side), flags=cv2.INTER_LINEAR)
        score, row, column = correlate(template, inside)
        shift_y = (row - (image.shape[0] - 1) / 2 + centre) * pitch
        shift_x = (column - (image.shape[1] - 1) / 2 + centre) * pitch
        found.append((score, replace(pose, shift_x=shift_x, shift_y=shift_y)))
        progress("searching rotations", turn + 1, 2 * _ANGLES)
    found.sort(key=lambda one: -one[0])
    kept: list[Pose] = []
    for _, pose in found:
        if all(_apart(pose, other) for other in kept):
            kept.append(pose)
        if len(kept) == 6:
            break
    return kept


def _apart(a: Pose, b: Pose) -> bool:
    """Whether two rotations differ by more than 6 degrees, or in their mirror."""
    between = abs(np.angle(np.exp(1j * (a.angle - b.angle))))
    return a.mirrored != b.mirrored or between > np.radians(6)


def _shrunk(height: Heights, pitch: float, wanted: float) -> Heights:
    import cv2

    side = max(8, round(height.shape[0] * pitch / wanted))
    return np.asarray(cv2.resize(height, (side, side), interpolation=cv2.INTER_AREA))


def _plane(height: Heights) -> Heights:
    """Least-squares plane through the finite values."""
    finite = np.isfinite(height)
    terms = np.concatenate([np.ones((1, *height.shape)), np.indices(height.shape)])
    basis = terms[:, finite]
    plane = np.linalg.solve(basis @ basis.T, basis @ height[finite])
    return np.asarray(np.tensordot(plane, terms, axes=1))


class _Correlator:
    """Masked normalised cross-correlation of one image with many templates."""

    def __init__(self, image: Heights, present: NDArray[np.bool_], padded: tuple[int, int]) -> None:
        self._padded = padded
        self._extent = image.shape
        self._present = self._fft(present.astype(np.float64))
        self._image = self._fft(image)
        self._square = self._fft(image * image)
        self._scale = float((image * image).sum() / max(present.sum(), 1))

    def _fft(self, array: Heights) -> NDArray[np.complex128]:
        return np.asarray(np.fft.rfft2(array, self._padded))

    def __call__(self, template: Heights, inside: NDArray[np.bool_]) -> tuple[float, int, int]:
        """Best correlation, and row and column of the template's first pixel there."""
        mask, plain, square = (
            np.conj(self._fft(part)) for part in (inside.astype(np.float64), template, template * template)
        )
        overlap, image, squares, templates, template_squares, product = (
            np.fft.irfft2(spectrum, self._padded)
            for spectrum in (
                self._present * mask,
                self._image * mask,
                self._square * mask,
                self._present * plain,
                self._present * square,
                self._image * plain,
            )
        )
        overlap = np.maximum(np.rint(overlap), 1)
        covariance = product - image * templates / overlap
        spread = np.maximum(squares - image**2 / overlap, 0) * np.maximum(
            template_squares - templates**2 / overlap, 0
        )
        least = (1e-6 * self._scale * overlap) * template_squares.max()
        enough = (overlap > 0.8 * inside.sum()) & (spread > least)
        score = np.where(enough, covariance / np.sqrt(np.where(enough, spread, 1)), -1)
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        best = float(score[row, column])
        wrapped = [int(k) - size if k >= size // 2 + extent // 2 else int(k) for k, size, extent in
                   zip((row, column), self._padded, self._extent, strict=True)]  # fmt: skip
        return best, wrapped[0], wrapped[1]


def _blurred(expected: Relief, sigma: float) -> Relief:
    """``expected`` under a Gaussian of ``sigma`` metres."""
    from scipy.ndimage import gaussian_filter

    return replace(expected, height=gaussian_filter(expected.height, sigma / expected.pitch, mode="nearest"))


def _blurred_surface(surface: Surface, sigma: float) -> Surface:
    """The same for a measurement, over what was measured."""
    from scipy.ndimage import gaussian_filter

    pixels = sigma / surface.pitch
    if pixels < 0.3:
        return surface
    present = (1 - surface.missing).astype(np.float64)
    weight = gaussian_filter(present, pixels, mode="nearest")
    height = gaussian_filter(np.where(present > 0, surface.height, 0.0), pixels, mode="nearest")
    return Surface(np.where(present > 0, height / np.maximum(weight, 1e-9), np.nan), surface.pitch)


def _refined(
    expected: Relief, mark: NDArray[np.bool_], surface: Surface, start: Pose, samples: int, fineness: float
) -> tuple[Pose, float]:
    """Least squares from ``start`` on about ``samples``² points; returns pose and explained variance.

    ``fineness`` is the share of the natural steps by which derivatives are taken: less than a fringe.

    Points that were not measured do not count: a penalty on them would jump as they come and go.
    """
    from scipy.optimize import least_squares

    step = max(1, expected.samples // samples)
    pick = slice(step // 2, None, step)
    axis = expected.axis()[pick]
    x, y = np.meshgrid(axis, axis)
    region = (expected.aperture() | mark)[pick, pick]
    inside = expected.aperture()[pick, pick][region]
    x, y = x[region], y[region]
    height = expected.height[pick, pick][region]
    size, radius = float(np.std(height[inside])) or 1.0, expected.radius
    steps = _STEPS * fineness
    basis = np.stack([np.ones(len(x)), x / radius, y / radius, height / size], axis=1)

    def pose(vector: NDArray[np.float64]) -> Pose:
        turn, right, down, growth = vector * steps
        return replace(
            start,
            angle=start.angle + turn,
            shift_x=start.shift_x + right * radius,
            shift_y=start.shift_y + down * radius,
            scale=start.scale + growth,
        )

    def levelled(vector: NDArray[np.float64]) -> tuple[Heights, NDArray[np.bool_], NDArray[np.float64]]:
        """Residual after the best piston, tilt and depth, where it was measured, and those four numbers.

        The depth is fitted too, or a part that is too deep would be taken for one that is too narrow; it is
        kept between half and double, so that an inverted relief does not pass.
        """
        measured = _sampled(surface, *pose(vector).placed(x, y))
        here = np.isfinite(measured)
        wanted = np.where(here, measured, 0.0)
        used = basis * (here & inside)[:, np.newaxis]
        normal = used.T @ used + 1e-9 * np.eye(4)
        plane = np.linalg.solve(normal, used.T @ wanted)
        gain = float(np.clip(plane[3] / size, 0.5, 2.0)) * size
        if gain != plane[3]:
            left = np.linalg.solve(normal[:3, :3], used[:, :3].T @ (wanted - basis[:, 3] * gain))
            plane = np.append(left, gain)
        return np.where(here, wanted - basis @ plane, 0.0), here, plane

    def residual(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        difference, _, _ = levelled(vector)
        # A bowl that is wider and deeper is the same bowl: where nothing else decides, the scale stays 1.
        leaning = 0.01 * np.sqrt(len(x)) * (pose(vector).scale - 1)
        return np.append(difference / size, leaning)

    def jacobian(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        each = 0.1 * np.eye(4)
        return np.stack([(residual(vector + one) - residual(vector - one)) / 0.2 for one in each], axis=1)

    reach = (_REACH if mark.any() or samples < 100 else _REACH / 15) / steps
    solution = least_squares(
        residual,
        np.zeros(4),
        jac=jacobian,
        loss="soft_l1",
        f_scale=0.1,
        bounds=(-reach, reach),
        ftol=1e-13,
        xtol=1e-9,
        max_nfev=40 if samples < 100 else 150,
    ).x
    difference, here, plane = levelled(solution)
    explained = -1.0
    if np.sum(here & inside) > 0.7 * inside.sum():
        explained = 1 - float(np.var(difference[here]) / plane[3] ** 2)
    found = replace(
        pose(solution),
        piston=float(plane[0]),
        tilt_x=float(plane[1] / radius),
        tilt_y=float(plane[2] / radius),
    )
    return found, explained
