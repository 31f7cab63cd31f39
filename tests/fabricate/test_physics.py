"""What a process does to the light, against closed forms, and the traps on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticaldr.hardware.fabrication.catalogue import PROCESSES
from opticaldr.hardware.fabrication.diffractive import blazed_efficiency, stepped_efficiency
from opticaldr.hardware.fabrication.grayscale import Grayscale
from opticaldr.hardware.fabrication.layout import rectangles
from opticaldr.hardware.fabrication.multilevel import Multilevel
from opticaldr.hardware.fabrication.prediction import (
    as_optic,
    band_energy,
    efficiency,
    predict,
    tolerance,
)
from opticaldr.hardware.fabrication.process import Wave, blurred
from opticaldr.hardware.fabrication.relief import Relief
from opticaldr.hardware.fabrication.rules import design_rules, narrow
from opticaldr.models.optics import Optic

from .conftest import small_spec

WAVE = Wave(550e-9, 1.5)
PERIODS, ACROSS = 8, 64


def blaze(process: Multilevel | Grayscale) -> np.ndarray:
    """Heights over whole periods of a blazed grating, as the process folds them: ``[x]``."""
    samples = PERIODS * ACROSS
    ramp = (np.arange(samples) + 0.5) / ACROSS * WAVE.depth * process.orders
    relief = Relief(np.tile(ramp, (samples, 1)), 1e-6, samples * 1e-6, square=True)
    levels = process.levels if isinstance(process, Multilevel) else 256
    step = process.span(WAVE) / levels
    level = np.mod(np.rint(relief.height / step), levels)
    return (level * step)[0]


def order_share(height: np.ndarray, detuning: float, order: int) -> float:
    """Energy in one diffraction order, from a Fourier transform of the transmitted field."""
    field = np.exp(2j * np.pi * detuning * height / WAVE.depth)
    return float(np.abs(np.fft.fft(field)[order * PERIODS] / len(field)) ** 2)


@pytest.mark.parametrize(("levels", "expected"), [(2, 0.405), (4, 0.811), (8, 0.950), (16, 0.987)])
def test_n_levels_diffract_what_the_books_say(levels: int, expected: float) -> None:
    share = order_share(blaze(Multilevel(levels=levels)), 1.0, 1)
    assert share == pytest.approx(expected, rel=0.01)
    assert stepped_efficiency(levels, 1.0) == pytest.approx(np.sinc(1 / levels) ** 2)
    assert share == pytest.approx(stepped_efficiency(levels, 1.0), rel=0.01)


@pytest.mark.parametrize("detuning", [0.8, 0.93, 1.0, 1.13, 1.3])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_detuned_orders_follow_the_closed_form(detuning: float, order: int) -> None:
    stepped = order_share(blaze(Multilevel(levels=8)), detuning, order)
    assert stepped == pytest.approx(stepped_efficiency(8, detuning, order), abs=2e-3)
    smooth = order_share(blaze(Grayscale()), detuning, order)
    assert smooth == pytest.approx(blazed_efficiency(detuning, order), abs=2e-3)


def test_higher_orders_keep_their_wave_at_the_design_wavelength() -> None:
    assert order_share(blaze(Grayscale(orders=3)), 1.0, 3) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("levels", "expected"), [(4, 0.811), (8, 0.950)])
def test_the_predicted_efficiency_of_a_real_design_is_the_closed_form(
    levels: int, expected: float, optic: Optic, relief: Relief
) -> None:
    process = Multilevel(levels=levels, blur=0.0)
    spec, wave, _ = process.optics(optic.spec)
    drawn = process.drawn(relief, wave)
    made = as_optic(process.made(drawn, wave), spec, stepped=True)
    wanted = process.gridded(relief).grounded().cropped(made.spec.pupil.samples).height
    shares = efficiency(made, wanted, wave, process.waves)
    k = spec.sensor.wavelengths.index(wave.wavelength)
    assert shares[k] == pytest.approx(expected, rel=0.01)


@given(st.integers(2, 32), st.floats(0, 30e-6))
def test_level_n_never_appears(levels: int, height: float) -> None:
    process = Multilevel(levels=levels)
    relief = Relief(np.full((64, 64), height), 1e-6, 30e-6)
    folded = process.folded(relief, WAVE, levels).height
    assert folded.min() >= 0
    assert folded.max() <= WAVE.depth * (levels - 1) / levels * (1 + 1e-12)


def test_wrapped_heights_are_never_interpolated(relief: Relief) -> None:
    """On finer pixels every height is still one of the levels: seams stay seams."""
    process = Multilevel(levels=8, pixel=6e-6)
    drawn = process.drawn(relief, WAVE)
    step = WAVE.depth / 8
    assert drawn.samples > relief.samples
    np.testing.assert_allclose(drawn.height / step, np.rint(drawn.height / step), atol=1e-9)
    wrong = Relief(np.mod(relief.height, WAVE.depth), relief.pitch, relief.radius).sampled(drawn.samples)
    right = np.mod(process.gridded(relief).height, WAVE.depth)
    apart = np.angle(np.exp(2j * np.pi * (wrong.height - right) / WAVE.depth))[drawn.aperture()]
    assert np.abs(apart).max() > 1.0  # what interpolating the wrapped relief would have done


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.95))
def test_rectangles_tile_the_plane_exactly(seed: int, rows: int, columns: int, share: float) -> None:
    plane = np.random.default_rng(seed).random((rows, columns)) < share
    covered = np.zeros(plane.shape, dtype=int)
    for top, left, bottom, right in rectangles(plane):
        assert bottom > top
        assert right > left
        covered[top:bottom, left:right] += 1
    np.testing.assert_array_equal(covered, plane)


def test_blur_smooths_by_its_standard_deviation() -> None:
    edge = np.zeros((64, 64))
    edge[:, 32:] = 1.0
    row = blurred(edge, 4.0)[32]
    spread = np.gradient(row)
    x = np.arange(64) - 31.5
    assert np.sqrt(np.sum(spread * x**2) / spread.sum()) == pytest.approx(4.0, rel=0.03)


def test_another_material_changes_the_depth_but_not_the_phase(optic: Optic) -> None:
    process = PROCESSES["refractive"].told({"material": "fused-silica", "wavelength": 570e-9})
    spec, wave, factor = process.optics(optic.spec)
    before = optic.height * (optic.spec.mask.material.index(570e-9) - 1)
    after = optic.height * factor * (spec.mask.material.index(570e-9) - 1)
    np.testing.assert_allclose(after, before, rtol=1e-9)
    assert wave.index == pytest.approx(1.4591, abs=2e-4)  # Malitson at 570 nm
    assert factor > 1


def test_an_error_free_process_gives_back_the_design(optic: Optic, relief: Relief) -> None:
    process = PROCESSES["refractive"].told({})
    spec, wave, _ = process.optics(optic.spec)
    made = as_optic(process.made(process.drawn(relief, wave), wave), spec, stepped=False)
    assert predict(optic, made).ncc.min() > 0.99999


def test_tolerance_depends_on_the_seed_alone_and_widens_with_the_errors(optic: Optic, relief: Relief) -> None:
    def median(seed: int, **changed: float) -> tuple[float, np.ndarray]:
        process = Multilevel(pixel=17e-6, **changed)
        spec, wave, _ = process.optics(optic.spec)
        spread = tolerance(process, process.drawn(relief, wave), wave, optic, spec, 6, seed)
        return float(np.median(spread.ncc)), spread.ncc

    calm, first = median(1)
    np.testing.assert_array_equal(first, median(1)[1])
    assert not np.array_equal(first, median(2)[1])
    assert median(1, depth_error=0.3, overlay_error=30e-6)[0] < calm - 0.002
    exact = median(1, depth_error=0.0, overlay_error=0.0)[1]
    assert np.ptp(exact) < 1e-12


def test_overlay_moves_a_mask_and_not_the_first() -> None:
    process = Multilevel(levels=4, depth_error=0.0, overlay_error=3e-6, blur=0.0)
    n = 128
    height = np.full((n, n), 3 * WAVE.depth / 4)
    height[40:88, 40:88] = 0.0  # both masks etch this square
    made = process.made(Relief(height, 1e-6, 60e-6), WAVE, np.random.default_rng(4)).height
    assert made[64, 64] == pytest.approx(0.0, abs=1e-12)
    fine, coarse = WAVE.depth / 4, WAVE.depth / 2
    only_first = np.isclose(height[0, 0] - made, fine)
    only_second = np.isclose(height[0, 0] - made, coarse)
    assert only_first.any()
    assert only_second.any()


def test_band_energy_of_a_point_is_one_and_falls_with_blur() -> None:
    point = np.zeros((33, 33))
    point[16, 16] = 1.0
    assert band_energy(point, 60.0) == pytest.approx(1.0)
    wide = blurred(point, 2.0)
    assert band_energy(wide, 60.0) < 0.5
    sigma, face = 2.0, 60.0  # Gaussian of sigma pixels: MTF exp(-2 pi^2 sigma^2 f^2)
    f = np.hypot(np.fft.fftfreq(66)[:, None], np.fft.rfftfreq(66))
    inside = (f * face >= 4) & (f * face <= 32)
    assert band_energy(wide, face) == pytest.approx(
        np.mean(np.exp(-4 * np.pi**2 * sigma**2 * f[inside] ** 2)), rel=0.03
    )


def test_narrow_lines_are_found_and_wide_ones_are_not() -> None:
    plane = np.zeros((40, 40), dtype=bool)
    plane[10, 5:30] = True  # one pixel wide
    plane[20:25, 5:30] = True  # five
    found = narrow(plane, 3)
    assert found[10, 5:30].all()
    assert not found[20:25].any()


@pytest.mark.proves("MASK-2")
def test_a_violation_is_listed_where_it_is(optic: Optic) -> None:
    """A steep spot to the right of the axis, seen from the sensor, is on the left in the file's frame."""
    spec = small_spec()
    process = PROCESSES["refractive"].told({"max_slope": 0.2, "tool_radius": 1e-9})
    relief = Relief(np.zeros((128, 128)), spec.pupil.pitch, spec.pupil.diameter / 2)
    axis = relief.axis()
    x, y = np.meshgrid(axis, axis)
    relief.height[:] = 20e-6 * np.exp(-((x - 400e-6) ** 2 + (y - 200e-6) ** 2) / (2 * (40e-6) ** 2))
    found = [v for v in design_rules(process, relief, relief, WAVE) if v.rule == "slope"]
    assert found
    largest = max(found, key=lambda v: v.pixels)
    assert largest.x == pytest.approx(-400e-6, abs=40e-6)
    assert largest.y == pytest.approx(-200e-6, abs=40e-6)
    assert largest.value == pytest.approx(20e-6 / 40e-6 * np.exp(-0.5), rel=0.1)
