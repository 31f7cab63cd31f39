"""Quality gates: is this calibration good enough to be trusted by everything downstream, and if not, what to do."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.bank import Bank
from opticaldr.calibration.photon_transfer import Characterised, cells
from opticaldr.models.optics import SensorSpec
from opticaldr.models.optics.metrics import centroid, encircled_radius, mtf50, registered_ncc, strehl

_BOUND = {"at most": operator.le, "at least": operator.ge}
GREEN = 1


@dataclass(frozen=True)
class Gate:
    """One figure and its limit.

    `bound` says on which side of `limit` the value has to lie; `remedy` what to do when it does not.
    """

    name: str
    value: float
    bound: Literal["at most", "at least"]
    limit: float
    unit: str
    remedy: str

    @property
    def passed(self) -> bool:
        """Whether the value lies on the right side (NaN never does)."""
        return bool(_BOUND[self.bound](self.value, self.limit))

    def record(self) -> dict[str, Any]:
        """What `gates.json` holds."""
        return asdict(self) | {"passed": self.passed}


def sensor_gates(sensor: Characterised, spec: SensorSpec) -> list[Gate]:
    """Gates on the sensor alone: known before the first spot is measured."""
    leak = sensor.light_leak / max(spec.dark_current, 0.1)
    return [
        Gate(
            "light leak", leak, "at most", 5.0, "times the dark current expected",
            "switch the room light off, close the housing, look for a shutter that does not close",
        ),
        Gate(
            "linearity", sensor.noise.linearity, "at most", 0.015, "of the range",
            "switch gamma and tone curves off in the camera's driver",
        ),
        Gate(
            "defect pixels", sensor.noise.defects / sensor.good.size, "at most", 0.01, "of all pixels",
            "measure dark frames again with a cool camera, or replace it",
        ),
    ]  # fmt: skip


def spot_gates(
    saturated: float, signal_to_noise: float, depths: int, drift: float, walk: float
) -> list[Gate]:
    """Gates on the measured spots.

    Args:
        saturated: largest fraction of a window's pixels without a good exposure.
        signal_to_noise: lowest of the spots' peaks over their standard errors.
        depths: how many were measured.
        drift: relative change of the source's brightness over the session.
        walk: how far the spot of the first depth has moved at the end, raw pixels.
    """
    return [
        Gate(
            "saturation", saturated, "at most", 1e-3, "of the window",
            "lower the power or put a grey filter before the source",
        ),
        Gate(
            "peak SNR", 20 * float(np.log10(max(signal_to_noise, 1e-9))), "at least", 25.0, "dB",
            "take more frames or longer exposures",
        ),
        Gate("depths", float(depths), "at least", 3.0, "", "measure at three depths or more"),
        Gate("source drift", abs(drift), "at most", 0.05, "", "let the source warm up for a quarter of an hour"),
        Gate(
            "spot walk", walk, "at most", 1.0, "raw pixels",
            "fasten mask, camera and source, let everything warm up",
        ),
    ]  # fmt: skip


def agreement_gates(bank: Bank, designed: NDArray[np.floating], pitch: float) -> list[Gate]:
    """Gates on measured PSFs against designed ones [depth, colour, y, x] at raw pixels of side `pitch`."""
    measured = bank.psf[:, 0, GREEN].astype(np.float64)
    ideal = np.asarray(designed[:, GREEN], dtype=np.float64)
    views = range(len(measured))
    alike = np.mean([registered_ncc(measured[v], ideal[v]) for v in views])
    # Of square roots: errors of the build, which change the bright core most, drown the difference otherwise.
    faint, faint_ideal = (np.sqrt(np.maximum(psfs, 0)) for psfs in (measured, ideal))
    upright, *flipped = (
        np.mean([registered_ncc(faint[v], faint_ideal[v][flip]) for v in views])
        for flip in (np.s_[:, :], np.s_[:, ::-1], np.s_[::-1, :])
    )
    half, most = (
        _departure([encircled_radius(psfs[v], pitch, fraction) for v in views] for psfs in (measured, ideal))
        for fraction in (0.5, 0.8)
    )
    sharpness = _departure([mtf50(psfs[v], pitch) for v in views] for psfs in (measured, ideal))
    peaks = [strehl(measured[v], ideal[v]) for v in views]
    # The middle of the window is the raw pixel nearest to the chief ray.
    chief = (bank.centre[:, 0] - np.round(bank.centre[:, 0])) * pitch
    aside = max(
        float(np.hypot(*(centroid(measured[v], pitch) - chief[v] - centroid(ideal[v], pitch))))
        / encircled_radius(ideal[v], pitch)
        for v in views
    )
    rim = max(_rim_energy(measured[v]) for v in views)
    return [
        Gate(
            "energy at the window's rim", rim, "at most", 0.02, "of the spot",
            "look for stray light and reflections; use a larger window",
        ),
        Gate(
            "agreement with the design (NCC)", float(alike), "at least", 0.8, "",
            "is this the mask of this design, the right way up, and focused? else have it inspected",
        ),
        Gate(
            "not a mirror image", float(max(flipped) - upright), "at most", 0.01,
            "NCC of square roots more than as designed",
            "turn the mask over: its structured side faces the scene",
        ),
        Gate(
            "centroid against the design", aside, "at most", 0.3, "of the EE50 radius",
            "centre the mask on the stop and seat it flat; have its wedge inspected",
        ),
        Gate(
            "EE50 radius against the design", half, "at most", 0.3, "",
            "check focus and spacing of the mask; have its depth measured",
        ),
        Gate(
            "EE80 radius against the design", most, "at most", 0.3, "",
            "check focus and spacing of the mask; look for stray light",
        ),
        Gate(
            "MTF50 against the design", sharpness, "at most", 0.3, "",
            "check the focus; let nothing move while frames are taken",
        ),
        Gate(
            "peak against the design", float(np.min(peaks)), "at least", 0.4, "",
            "clean mask and lens; have the surface inspected",
        ),
    ]  # fmt: skip


def fit_gates(fitted: list[float], held_out: list[float]) -> list[Gate]:
    """Gates on the as-built fit: likeness (NCC) of its mosaics to the measured ones.

    Args:
        fitted: at the depths it was fitted to.
        held_out: at depths it did not see.
    """
    gates = [
        Gate(
            "fit to the measured spots (NCC)", min(fitted), "at least", 0.99, "",
            "measure again: something moved, or the surface has errors beyond the fit",
        )
    ]  # fmt: skip
    if held_out:
        remedy = "check stage.origin in the rig file; measure more depths"
        gates.append(Gate("prediction of held-out depths (NCC)", min(held_out), "at least", 0.98, "", remedy))
    return gates


def chart_gate(likeness: float) -> Gate:
    """Gate on the noise chart: likeness (NCC) of the point source's mosaic to the one the chart makes expect."""
    return Gate(
        "chart against point source (NCC)", likeness, "at least", 0.97, "",
        "show the chart unscaled, in a dark room, at the distance in the rig file; take more frames",
    )  # fmt: skip


def mosaic_ncc(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Normalised cross-correlation of two mosaics [y, x], no registration: mean over the planes of the Bayer cell.

    Pixels that either lacks (NaN) are left out.
    """
    values = []
    for cell in cells():
        a, b = np.asarray(first[cell], np.float64), np.asarray(second[cell], np.float64)
        known = np.isfinite(a) & np.isfinite(b)
        a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
        values.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return float(np.mean(values))


def _departure(figures: Iterable[list[float]]) -> float:
    """Largest relative difference of the figures measured from those designed, the two given in this order."""
    measured, ideal = map(np.array, figures)
    return float(np.max(np.abs(measured / ideal - 1)))


def _rim_energy(psf: NDArray[np.floating], width: int = 4) -> float:
    inner = psf[width:-width, width:-width].sum()
    return float(abs(psf.sum() - inner) / psf.sum())
