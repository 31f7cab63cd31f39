"""The point spread function against closed forms."""

import numpy as np
import pytest
from scipy.special import j0, j1

from opticaldr.models.optics import psf, psf_bank, zernike_height
from opticaldr.models.optics.fourier import fourier_power
from opticaldr.models.optics.geometry import centred, relative_distance
from opticaldr.models.optics.metrics import centroid, registered

GREEN = 550e-9


def airy_radius(spec, wavelength=GREEN):
    """Distance on the sensor of one unit of λz/D."""
    return wavelength * spec.sensor_distance / spec.pupil.diameter


@pytest.fixture(scope="module")
def bare(vary):
    """A perfect lens without a mask: a flat plate of no effect."""
    spec = vary("clinic", pupil__samples=64)
    return spec, np.zeros((64, 64))


@pytest.mark.proves("OPTICS-1")
def test_airy_pattern(bare, vary):
    """I(v) = (2 J₁(v)/v)² with v = πDr/λz; first dark ring at 1.2197 λz/D."""
    spec, height = bare
    unit = airy_radius(spec)
    fine = vary("clinic", pupil__samples=64, sensor__pitch=unit / 20)
    image = psf(height, fine, [GREEN], 0.6, shape=(101, 101), binned=False, integrated=False)[0]
    axis = centred(101, 1 / 20)
    v = np.pi * np.hypot(axis[:, None], axis) + 1e-12
    peak = np.pi / 4 * (1 / 20) ** 2  # of a unit of energy: (π/4)(D/λz)² a unit of area
    assert np.allclose(image, peak * (2 * j1(v) / v) ** 2, atol=2e-5 * peak)
    row = image[50, 50:]
    dark = np.argmin(row[15:35]) + 15
    a, b, _ = np.polyfit(axis[50:][dark - 1 : dark + 2], row[dark - 1 : dark + 2], 2)
    assert -b / (2 * a) == pytest.approx(1.2197, abs=5e-3)


def test_encircled_energy_of_the_airy_pattern(bare, vary):
    """Energy within v is 1 − J₀² − J₁²."""
    spec, height = bare
    unit = airy_radius(spec)
    fine = vary("clinic", pupil__samples=64, sensor__pitch=unit / 8)
    image = psf(height, fine, [GREEN], 0.6, shape=(121, 121), binned=False, integrated=False)[0]
    r = np.hypot(*np.meshgrid(centred(121, 1 / 8), centred(121, 1 / 8)))
    for radius in (1.22, 2.5, 5.0, 7.0):
        v = np.pi * radius
        assert image[r <= radius].sum() == pytest.approx(1 - j0(v) ** 2 - j1(v) ** 2, abs=4e-3)


def test_energy_is_kept_to_a_part_in_ten_thousand(bare, vary):
    """What the window misses of a square pupil's sinc² pattern is known: 2/(π²·half width) a side."""
    spec = vary("clinic", pupil__samples=64, pupil__shape="square", sensor__pitch=4e-6)
    _, height = bare
    image = psf(height, spec, [GREEN], 0.6, shape=(41, 41), binned=False)[0]
    x = np.linspace(0, 41 * 4e-6 / 2 / airy_radius(spec), 400001)
    inside = 2 * np.trapezoid(np.sinc(x) ** 2, x)
    assert image.sum() == pytest.approx(inside**2, abs=1e-4)


def test_parseval_over_one_period():
    """Over a whole period λ/Δs of the sampled field the energy is that of the samples."""
    rng = np.random.default_rng(0)
    pupil = rng.standard_normal((24, 2, 16))
    s = centred(24, 1.0), centred(16, 1.0)
    u = centred(24, 2 * np.pi / 24), centred(16, 2 * np.pi / 16)
    power = fourier_power(pupil, 1.0, s, u)
    assert power.sum() / (24 * 16) == pytest.approx(np.sum(pupil**2), rel=1e-12)


@pytest.mark.parametrize("sides", [(7, 9), (8, 6), (7, 6)])
def test_folded_fourier_sum_is_the_plain_one(sides):
    rng = np.random.default_rng(1)
    pupil = rng.standard_normal((10, 2, 12))
    s, u = (centred(10, 0.3), centred(12, 0.2)), (centred(sides[0], 1.1), centred(sides[1], 0.7))
    k = 2.0
    plain = (
        np.exp(1j * k * np.outer(u[0], s[0]))
        @ (pupil[:, 0] + 1j * pupil[:, 1])
        @ np.exp(1j * k * np.outer(s[1], u[1]))
    )
    assert np.allclose(fourier_power(pupil, k, s, u), np.abs(plain) ** 2, rtol=1e-10)


@pytest.mark.proves("OPTICS-1")
@pytest.mark.parametrize("waves", [0.25, 0.5, 1.0, 1.5, 2.0])
def test_defocus_on_axis_against_the_closed_form(bare, vary, waves):
    """On axis, W waves of defocus at the pupil's edge leave sinc²(W) of the peak, and nothing at whole waves."""
    spec, height = bare
    fine = vary("clinic", pupil__samples=64, sensor__pitch=airy_radius(spec) / 20)
    edge = spec.pupil.diameter / 2
    depth = 1 / (1 / 0.6 + 2 * waves * GREEN / edge**2)
    sharp, blurred = (
        psf(height, fine, [GREEN], d, shape=(1, 1), binned=False, integrated=False)[0, 0, 0]
        for d in (0.6, depth)
    )
    assert blurred / sharp == pytest.approx(np.sinc(waves) ** 2, abs=3e-5)


@pytest.mark.parametrize("field", [(0.0, 0.0), (0.1, -0.05)])
def test_focus_goes_through_infinity_without_a_step(vary, field):
    """Dioptres, not metres: on either side of 0 the path is the paraxial ρ² D/2 less the tilt of the field."""
    x, y = np.meshgrid(np.linspace(-1e-3, 1e-3, 5), np.linspace(-1e-3, 1e-3, 5))
    for dioptres in (1.6, 1e-3, -1e-3, -1.6):
        path = relative_distance(x, y, 1 / dioptres, field)
        chief = np.sqrt(1 + field[0] ** 2 + field[1] ** 2)
        paraxial = ((x**2 + y**2) * dioptres / 2 - x * field[0] - y * field[1]) / chief
        assert np.abs(path - paraxial).max() < 2e-8
    beyond = vary("clinic", lens__focus=-2.0)
    assert beyond.sensor_distance < beyond.lens.focal_length


def test_a_prism_bends_light_towards_its_thick_end(vary):
    """A wedge of slope α moves the spot by (n − 1)αz, against +x because the array is the upright image."""
    spec = vary("clinic", pupil__samples=64, sensor__pitch=4e-7)
    slope = 4e-3
    expected = -(spec.mask.material.index(GREEN) - 1) * slope * spec.sensor_distance
    straight, *bent = (
        psf(
            zernike_height({j: slope * spec.pupil.diameter / 2}, spec),
            spec,
            [GREEN],
            0.6,
            shape=(121, 121),
            binned=False,
        )[0]
        for j in (1, 2, 3)
    )
    for axis, image in enumerate(bent):
        moved = np.array(registered(image, straight)[1]) * -spec.sensor.pitch
        assert moved[axis] == pytest.approx(expected, abs=1e-8)
        assert moved[1 - axis] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["clinic", "paper"])
def test_the_window_follows_the_chief_ray(vary, name):
    """Off axis the chief ray lands in the window's middle whatever the depth, and a focused spot stays round it."""
    spec = vary(name, pupil__samples=256)
    height = zernike_height(spec.mask.start, spec)
    bank = psf_bank(height, spec, [0.5], fields=[(0.0, 0.0), (0.04, -0.02)], shape=(9, 9))
    pitch = spec.sensor.superpixel
    for colour in range(3):
        assert np.hypot(*centroid(bank[0, 0, colour], pitch)) < 1e-9
        assert np.hypot(*centroid(bank[0, 1, colour], pitch)) < 0.3 * pitch


def test_distortion_moves_the_image_by_its_slope(vary):
    """D·H³·ρcosψ is a tilt: D waves at the pupil's edge move the spot by Dλz/a away from the field's direction."""
    waves = 4.0
    spec = vary(
        "clinic",
        pupil__samples=64,
        sensor__pitch=4e-7,
        lens__seidel__distortion=waves,
        lens__seidel__field_edge=0.2,
    )
    straight, bent = (
        psf(np.zeros((64, 64)), spec, [GREEN], 0.6, field=field, shape=(121, 121), binned=False)[0]
        for field in ((0.0, 0.0), (0.0, 0.2))
    )
    expected = -waves * 550e-9 * spec.sensor_distance / (spec.pupil.diameter / 2)
    x, y = np.array(registered(bent, straight)[1]) * -spec.sensor.pitch
    assert y == pytest.approx(expected, abs=1e-8)
    assert x == pytest.approx(0, abs=1e-9)


def test_coma_and_astigmatism_grow_with_the_field(vary):
    """Strehl ≈ 1 − (2πσ)²: Seidel coma of C waves has σ = C/√72 about the best tilt, growing with H."""
    spec = vary(
        "clinic", pupil__samples=64, sensor__pitch=2e-7, lens__seidel__coma=0.4, lens__seidel__field_edge=0.3
    )
    peaks = [
        psf(
            np.zeros((64, 64)),
            spec,
            [GREEN],
            0.6,
            field=(x, 0.0),
            shape=(41, 41),
            binned=False,
            integrated=False,
        ).max()
        for x in (0.0, 0.15, 0.3)
    ]
    assert peaks[1] / peaks[0] == pytest.approx(1 - (2 * np.pi * 0.2) ** 2 / 72, abs=2e-3)
    assert peaks[2] / peaks[0] == pytest.approx(np.exp(-((2 * np.pi * 0.4) ** 2) / 72), abs=5e-3)


def chiral_f(samples):
    """A capital F, upright: its mirror images and turns all differ."""
    f = np.zeros((samples, samples), dtype=bool)
    unit = samples // 16
    f[4 * unit : 12 * unit, 5 * unit : 7 * unit] = True
    f[4 * unit : 6 * unit, 5 * unit : 11 * unit] = True
    f[7 * unit : 9 * unit, 5 * unit : 9 * unit] = True
    return f


@pytest.mark.parametrize(("depth", "turned"), [(0.07, True), (30.0, False)])
def test_orientation_by_a_chiral_mask(vary, depth, turned):
    """An F whose prism throws its light out of view leaves an F-shaped hole in the blur of a defocused point.

    Nearer than the focus the rays have not crossed yet, so on the sensor the F stands as in the pupil, and is
    upside down in the upright image. Farther, it is the other way round.
    """
    spec = vary("clinic", pupil__samples=256, mask__surface="pixel", lens__focus=0.14 if turned else 0.12)
    hole = chiral_f(256)
    wedge = np.broadcast_to(centred(256, spec.pupil.pitch), (256, 256)) * 0.3
    image = psf(np.where(hole, wedge, 0), spec, [GREEN], depth, shape=(33, 33), binned=False)[0]
    radius = spec.pupil.diameter / 2 * spec.sensor_distance * abs(1 / depth - 1 / spec.lens.focus)
    # The hole as geometric optics draws it, in each of the eight orientations.
    axis = centred(33, spec.sensor.pitch) / radius
    index = np.rint((axis + 1) / 2 * 255).astype(int)
    inside = np.abs(axis) < 1
    shadow = hole[np.clip(index, 0, 255)][:, np.clip(index, 0, 255)] & inside[:, None] & inside
    lit = np.hypot(axis[:, None], axis) < 0.9
    scores = {}
    for flip in (False, True):
        for quarter in range(4):
            seen = np.rot90(shadow[:, ::-1] if flip else shadow, quarter)
            scores[flip, quarter] = image[lit & ~seen].mean() - image[lit & seen].mean()
    assert max(scores, key=scores.get) == (False, 2 if turned else 0)


@pytest.mark.parametrize("samples", [64, 65])
def test_a_fine_staircase_is_the_smooth_surface(vary, samples):
    """A per-pixel relief that follows a gentle surface makes the same PSF, whether its samples are even or odd."""
    smooth = vary("clinic", pupil__samples=samples)
    stairs = vary("clinic", pupil__samples=samples, mask__surface="pixel")
    height = zernike_height({4: 3e-7, 8: 2e-7}, smooth)
    a, b = (psf(height, spec, [GREEN], 0.6, shape=(9, 9))[0] for spec in (smooth, stairs))
    assert np.abs(a - b).sum() < 5e-3
