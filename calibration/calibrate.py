"""`calibrate`: lead through the bench session and seal what was found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact, create
from opticaldr.calibration import capture
from opticaldr.calibration.bank import Bank, make_bank
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.fit import AsBuilt, brightened, centroid, fit_as_built
from opticaldr.calibration.gates import Gate, agreement_gates, fit_gates, mosaic_ncc, sensor_gates, spot_gates
from opticaldr.calibration.hdr import Bracket, Merged, merge, without_crosstalk
from opticaldr.calibration.linearised import BuiltOptic, Plate, View, forget_maps
from opticaldr.calibration.photon_transfer import Characterised, SensorNoise, characterise
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Arrays, Session
from opticaldr.hardware.cameras.simulated import spot_radius
from opticaldr.hardware.rig import RigSpec
from opticaldr.models.optics import Optic, OpticsSpec, psf_bank

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Calibration:
    """Everything a session found, before it is sealed."""

    design: Optic
    rig: str
    sensor: Characterised
    bank: Bank
    as_built: AsBuilt
    designed: NDArray[np.float32]
    fitted: NDArray[np.float32]
    difference: NDArray[np.float64]
    """Measured less predicted raw mosaics, as a fraction of each spot's peak [depth, y, x]; NaN where not measured."""
    held_out: list[int]
    gates: list[Gate]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)


def calibrate(
    design: Artefact,
    rig: RigSpec,
    out: Path | None = None,
    *,
    seed: int = 0,
    plan: Plan | None = None,
    work: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Measure the built optics of a design on a bench.

    Every finished measurement is kept in a work folder at once; started again after an interruption, the
    session goes on where it stopped. The folder is removed when the calibration is sealed.

    Args:
        design: what was ordered.
        rig: the bench.
        out: the folder to make; ``runs/calibration-<id>`` if not given.
        seed: of a simulated bench: its hidden build, drifts and noise.
        plan: how much is measured.
        work: the work folder; hidden beside `out` if not given.
        progress: told of every measurement and every step of the fit.

    Returns:
        The calibration: ``psf.npz``, ``noise.json``, ``optics.json`` and ``height.npy`` as built, ``asbuilt.json``,
        ``gates.json``, ``report.html``. It is sealed although a gate failed; ``gates.json`` says so.

    Raises:
        Refusal: the bench does not answer, no spot is found, or the work folder holds another session.
    """
    from opticaldr.calibration.report import write_report

    plan = plan or Plan()
    optic = Optic.read(design.path)
    if work is None:
        beside = out.absolute().parent if out is not None else Path("runs")
        work = beside / f".calibrate-{design.id[:8]}-{seed}"
    identity = {
        "design": design.id,
        "rig": rig.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
        "seed": seed,
    }
    found = evaluate(
        optic, rig.name, *measure(optic, rig, plan, Session(work, identity), seed, progress), progress
    )
    with create("calibration", out, parents=[design], seed=seed) as draft:
        found.bank.write(draft.path / "psf.npz")
        noise = found.sensor.noise
        Optic(_measured_spec(found.as_built.optic.spec, noise), found.as_built.optic.height).write(draft.path)
        _write_json(draft.path / "noise.json", noise.model_dump())
        _write_json(
            draft.path / "gates.json",
            {"passed": found.passed, "gates": [gate.record() for gate in found.gates]},
        )
        _write_json(draft.path / "asbuilt.json", _as_built_record(found.as_built))
        write_report(draft.path / "report.html", found)
    shutil.rmtree(work, ignore_errors=True)
    return draft.sealed()


def measure(
    design: Optic, rig: RigSpec, plan: Plan, session: Session, seed: int, progress: Progress
) -> tuple[Characterised, list[Arrays]]:
    """The bench session: dark, flat, the spot at every depth, and the first depth again."""
    with Rig(rig, design=design, seed=seed) as bench:
        depths = capture.planned_depths(plan, design.spec, bench.reach)
        side = _window_side(design, depths)
        total = len(depths) + 3
        progress("measure", 0, total)
        bench.seat(0)
        dark = session.measure("dark", lambda: capture.dark(bench, plan))
        progress("measure", 1, total)
        bench.seat(1)
        flat = session.measure("flat", lambda: capture.flat(bench, plan))
        progress("measure", 2, total)
        spots = []
        for number, depth in enumerate([*depths, depths[0]]):
            bench.seat(2 + number)
            name = f"spot-{number}" if number < len(depths) else "reference"
            spots.append(session.measure(name, lambda z=depth: capture.spot(bench, plan, z, side)))  # type: ignore[misc]
            progress("measure", 3 + number, total)
        white = bench.camera.info.white_level
    sensor = characterise(
        dark, flat, exposures=(capture.SHORT, capture.LONG), high_gain=capture.HIGH_GAIN, white_level=white
    )
    return sensor, spots


def evaluate(
    design: Optic, rig: str, sensor: Characterised, measured: list[Arrays], progress: Progress
) -> Calibration:
    """What the measurements say: PSF bank, as-built optic, gates. The last measurement repeats the first."""
    spec = design.spec
    spots = [_spot(arrays, sensor, spec) for arrays in measured]
    depths = [float(arrays["depth"]) for arrays in measured]
    side = spots[0].rate.shape[0]
    views = [View(depth, side) for depth in depths[:-1]]
    held_out = [1, len(views) - 2] if len(views) >= 5 else []
    chosen = [index for index in range(len(views)) if index not in held_out]
    built = fit_as_built(design, [views[i] for i in chosen], [spots[i] for i in chosen], progress=progress)

    shape = (side, side)
    designed = psf_bank(design.height.astype(np.float32), spec, depths[:-1], shape=shape, binned=False)
    fitted = psf_bank(
        built.optic.height.astype(np.float32), built.optic.spec, depths[:-1], shape=shape, binned=False
    )
    corners = np.array([arrays["corner"] for arrays in measured[:-1]])
    shifts = _chief_rays(built.state.shifts / spec.sensor.pitch, corners, depths[:-1], chosen)
    bank = make_bank(
        spots[:-1],
        depths[:-1],
        [float(arrays["power"]) for arrays in measured[:-1]],
        corners,
        shifts,
        bayer=spec.sensor.bayer,
        sensor_shape=spec.sensor.shape,
    )
    state = replace(built.state, shifts=shifts * spec.sensor.pitch)
    predicted = BuiltOptic(Plate.of(design), state, side)
    mosaics = [predicted.mosaic(index, view) for index, view in enumerate(views)]
    likeness = [mosaic_ncc(spot.rate, mosaic) for spot, mosaic in zip(spots, mosaics, strict=False)]
    difference = np.stack(
        [
            (spot.rate - brightened(mosaic, spot)) / np.nanmax(spot.rate)
            for spot, mosaic in zip(spots, mosaics, strict=False)
        ]
    )
    first, again = spots[0], spots[-1]
    brightness = [
        float(np.nansum(spot.rate)) / float(arrays["power"])
        for spot, arrays in ((first, measured[0]), (again, measured[-1]))
    ]
    walk = np.hypot(
        *(
            centroid(np.nan_to_num(again.rate)) + measured[-1]["corner"]
            - centroid(np.nan_to_num(first.rate)) - measured[0]["corner"]
        )
    )  # fmt: skip
    gates = [
        *sensor_gates(sensor, spec.sensor),
        *spot_gates(
            max(_lost(spot, sensor, arrays) for spot, arrays in zip(spots, measured, strict=True)),
            min(_peak_over_noise(spot) for spot in spots),
            len(views),
            brightness[1] / brightness[0] - 1,
            float(walk),
        ),
        *agreement_gates(bank, designed, spec.sensor.pitch),
        *fit_gates([likeness[i] for i in chosen], [likeness[i] for i in held_out]),
    ]
    forget_maps()
    return Calibration(design, rig, sensor, bank, built, designed, fitted, difference, held_out, gates)


def _spot(arrays: Arrays, sensor: Characterised, spec: OpticsSpec) -> Merged:
    row, column = arrays["corner"]
    side = arrays["light"].shape[-1]
    window = slice(row, row + side), slice(column, column + side)
    merged = merge(Bracket.of(arrays), sensor.noise, sensor.response[window], sensor.good[window])
    return Merged(without_crosstalk(merged.rate, spec.sensor.crosstalk), merged.variance)


def _window_side(design: Optic, depths: NDArray[np.float64]) -> int:
    """Raw pixels of a window, a multiple of four, that holds the designed spot at every depth with room to spare."""
    radius = max(spot_radius(design, float(depth)) for depth in depths)
    limit = min(design.spec.sensor.shape) // 4 * 4
    return min(int(np.ceil(2.2 * radius / 4)) * 4, limit)


def _chief_rays(
    shifts: NDArray[np.float64], corners: NDArray[np.int64], depths: list[float], fitted: list[int]
) -> NDArray[np.float64]:
    """Where the chief ray landed in the window of every depth, (x, y) raw pixels from its middle [depth, 2].

    The fit knows it at the depths it saw (`shifts`). A source that moves along a line lands on a line in 1/depth, which
    gives the others.
    """
    inverse = 1 / np.asarray(depths)
    on_sensor = shifts + corners[fitted][:, ::-1]
    degree = min(1, len(fitted) - 1)
    lines = np.polynomial.polynomial.polyfit(inverse[fitted], on_sensor, degree)
    landed = np.asarray(np.polynomial.polynomial.polyval(inverse, lines).T - corners[:, ::-1], np.float64)
    landed[fitted] = shifts
    return landed


def _lost(spot: Merged, sensor: Characterised, arrays: Arrays) -> float:
    row, column = arrays["corner"]
    side = spot.rate.shape[0]
    good = sensor.good[row : row + side, column : column + side]
    return float(np.count_nonzero(good & ~np.isfinite(spot.rate)) / good.size)


def _peak_over_noise(spot: Merged) -> float:
    peak = np.unravel_index(int(np.nanargmax(spot.rate)), spot.rate.shape)
    return float(spot.rate[peak] / np.sqrt(spot.variance[peak]))


def _measured_spec(spec: OpticsSpec, noise: SensorNoise) -> OpticsSpec:
    """The optics as built, with the sensor as measured."""
    sensor = spec.sensor.model_copy(
        update={
            "full_well": noise.gain_e_per_dn * (spec.sensor.white_level - round(noise.black_level_dn)),
            "read_noise": noise.read_noise_e,
            "dark_current": noise.dark_current_e_per_s * 2 ** ((298.15 - noise.temperature_k) / 6),
            "prnu": noise.prnu,
            "black_level": round(noise.black_level_dn),
        }
    )
    return spec.model_copy(update={"sensor": sensor})


def _as_built_record(built: AsBuilt) -> dict[str, object]:
    return {
        "parameters": {name: found._asdict() for name, found in built.parameters.items()},
        "wavefront_error_m": built.wavefront_error,
        "confused": [{"pair": [a, b], "correlation": c} for a, b, c in built.confused],
        "residual": built.residual,
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
