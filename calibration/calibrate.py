"""`calibrate`: lead through the bench session and seal what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact, create, require_new
from opticaldr.calibration.bank import Bank, make_bank
from opticaldr.calibration.capture import Plan, window
from opticaldr.calibration.field import FieldModel, low_rank
from opticaldr.calibration.first_look import Candidate
from opticaldr.calibration.fit import AsBuilt, centroid, fit_as_built
from opticaldr.calibration.gates import (
    Gate,
    agreement_gates,
    chart_gate,
    fit_gates,
    mosaic_ncc,
    sensor_gates,
    spot_gates,
)
from opticaldr.calibration.hdr import Bracket, Merged, merge, without_crosstalk
from opticaldr.calibration.hypothesis import Plate, State, View
from opticaldr.calibration.likelihood import brightened
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.calibration.measure import Measured, chart_of, measure
from opticaldr.calibration.noise_chart import Compared, chart_psf, compare
from opticaldr.calibration.photon_transfer import Characterised, SensorNoise
from opticaldr.calibration.pupil import forget_maps
from opticaldr.calibration.session import Arrays, Session
from opticaldr.hardware.as_built import BuildErrors
from opticaldr.hardware.rig import RigSpec
from opticaldr.models.optics import Optic, OpticsSpec

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Calibration:
    """Everything a session found, before it is sealed."""

    design: Optic
    rig: str
    sensor: Characterised
    bank: Bank
    field: FieldModel
    as_built: AsBuilt
    designed: NDArray[np.float32]
    fitted: NDArray[np.float32]
    between: NDArray[np.float64]
    """Depths that were not measured, metres."""
    predicted: NDArray[np.float32]
    """PSFs of the as-built optic there, on axis [depth, colour, y, x]."""
    difference: NDArray[np.float64]
    """Measured less predicted raw mosaics, as a fraction of each spot's peak [depth, y, x]; NaN where not measured."""
    held_out: list[int]
    hidden: BuildErrors | None
    """Of a simulated bench, how the optic was really built."""
    chart: Compared | None
    """The noise chart, if it was shown."""
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
    others: Sequence[Candidate] = (),
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Measure the built optics of a design on a bench.

    Every finished measurement is kept in a work folder at once; started again after an interruption, the
    session goes on where it stopped. When the calibration is sealed they are removed, and the folder if nothing else
    is in it.

    Args:
        design: what was ordered.
        rig: the bench.
        out: the folder to make; ``runs/calibration-<id>`` if not given.
        seed: of a simulated bench: its hidden build, drifts and noise.
        plan: how much is measured.
        work: the work folder; hidden beside `out` if not given.
        others: optics that may stand on the bench by mistake.
        progress: told of every measurement and every step of the fit.

    Returns:
        The calibration: ``psf.npz``, ``field.npz``, ``predicted.npz`` (unmeasured depths), ``noise.json``,
        ``flat.npz``, ``optics.json`` and ``height.npy`` as built, ``asbuilt.json``, ``designed.npz``,
        ``chart.npz`` if the noise chart was shown, ``gates.json``, ``report.html``. It is sealed although a gate
        failed; ``gates.json`` says so.

    Raises:
        Refusal: `out` exists, the bench does not answer, no spot is found, or the work folder is in use or holds
            another session.
    """
    from opticaldr.calibration.report import write_report

    require_new(out)
    plan = plan or Plan()
    optic = Optic.read(design.path)
    if work is None:
        work = (
            out.with_name(f".calibrate-{out.name}")
            if out is not None
            else Path("runs") / f".calibrate-{design.id[:8]}-{seed}"
        )
    identity = {
        "design": design.id,
        "rig": rig.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
        "seed": seed,
    }
    with Session(work, identity) as session:
        measured = measure(optic, rig, plan, session, seed, progress, others=others)
        found = evaluate(optic, rig, measured, progress)
        with create("calibration", out, parents=[design], seed=seed) as draft:
            found.bank.write(draft.path / "psf.npz")
            found.field.write(draft.path / "field.npz")
            np.savez(draft.path / "predicted.npz", psf=found.predicted, depths=found.between)
            np.savez(draft.path / "flat.npz", response=found.sensor.response, good=found.sensor.good)
            np.savez(
                draft.path / "designed.npz", height=optic.height, spec=np.array(optic.spec.model_dump_json())
            )
            if found.chart is not None:
                found.chart.chart.write(draft.path / "chart.npz")
            noise = found.sensor.noise
            Optic(_measured_spec(found.as_built.optic.spec, noise), found.as_built.optic.height).write(
                draft.path
            )
            _write_json(draft.path / "noise.json", noise.model_dump())
            _write_json(
                draft.path / "gates.json",
                {"passed": found.passed, "gates": [gate.record() for gate in found.gates]},
            )
            _write_json(draft.path / "asbuilt.json", _as_built_record(found.as_built))
            write_report(draft.path / "report.html", found)
        session.sealed()
    return draft.sealed()


def evaluate(design: Optic, rig: RigSpec, measured: Measured, progress: Progress) -> Calibration:
    """What the measurements say: PSF bank, as-built optic, gates."""
    spec, sensor, fields = design.spec, measured.sensor, measured.fields
    every = [spot_of(arrays, sensor, spec) for arrays in measured.spots]
    axis, count = measured.spots[: len(measured.depths)], len(measured.depths)
    spots, again = every[:count], spot_of(measured.again, sensor, spec)
    depths = [float(arrays["depth"]) for arrays in axis]
    rows, columns = again.rate.shape
    views = [View(depth, (rows, columns)) for depth in depths]
    held_out = [1, len(views) - 2] if len(views) >= 5 else []
    chosen = [index for index in range(len(views)) if index not in held_out]
    built = fit_as_built(
        design,
        [views[i] for i in chosen],
        [spots[i] for i in chosen],
        tolerances=rig.tolerances,
        progress=progress,
    )

    corners = np.array([arrays["corner"] for arrays in axis])
    shifts = _chief_rays(built.state.shifts / spec.sensor.pitch, corners, depths, chosen)
    plate, shape = Plate.of(design), (rows, columns)
    between = unmeasured(depths)
    ordered = BuiltOptic(plate, State.nominal(0), shape)
    delivered = BuiltOptic(plate, replace(built.state, shifts=shifts * spec.sensor.pitch), shape)
    designed = np.stack([ordered.psf(view) for view in views])
    fitted = np.stack([delivered.psf(View(depth, shape)) for depth in (*depths, *between)])
    bank = make_bank(
        np.array(every, dtype=object).reshape(len(fields), count).T,
        depths,
        fields,
        np.reshape([float(arrays["power"]) for arrays in measured.spots], (len(fields), count)).T,
        np.reshape([arrays["corner"] for arrays in measured.spots], (len(fields), count, 2)).swapaxes(0, 1),
        shifts,
        bayer=spec.sensor.bayer,
        sensor_shape=spec.sensor.shape,
    )
    mosaics = [delivered.mosaic(index, view) for index, view in enumerate(views)]
    likeness = [mosaic_ncc(spot.rate, mosaic) for spot, mosaic in zip(spots, mosaics, strict=True)]
    difference = np.stack(
        [
            (spot.rate - brightened(mosaic, spot)) / np.nanmax(spot.rate)
            for spot, mosaic in zip(spots, mosaics, strict=True)
        ]
    )
    chart = None
    if measured.chart is not None:
        light, beside = (spot_of(arrays, sensor, spec) for arrays in measured.chart)
        chart = compare(
            chart_psf(light, chart_of(design, rig.chart), spec, progress=progress), beside, spec.sensor.bayer
        )
    first = spots[0]
    brightness = [
        float(np.nansum(spot.rate)) / float(arrays["power"])
        for spot, arrays in ((first, axis[0]), (again, measured.again))
    ]
    walk = np.hypot(
        *(
            centroid(np.nan_to_num(again.rate)) + measured.again["corner"]
            - centroid(np.nan_to_num(first.rate)) - axis[0]["corner"]
        )
    )  # fmt: skip
    gates = [
        *sensor_gates(sensor, spec.sensor),
        *spot_gates(
            max(_lost(spot, sensor, arrays) for spot, arrays in zip(every, measured.spots, strict=True)),
            min(_peak_over_noise(spot) for spot in every),
            len(views),
            brightness[1] / brightness[0] - 1,
            float(walk),
        ),
        *agreement_gates(bank, designed, spec.sensor.pitch),
        *fit_gates([likeness[i] for i in chosen], [likeness[i] for i in held_out]),
        *([] if chart is None else [chart_gate(chart.likeness)]),
    ]
    forget_maps()
    return Calibration(
        design,
        rig.name,
        sensor,
        bank,
        low_rank(bank),
        built,
        designed,
        fitted[:count],
        np.array(between),
        fitted[count:],
        difference,
        held_out,
        measured.hidden,
        chart,
        gates,
    )


def unmeasured(depths: Sequence[float]) -> list[float]:
    """Depths half-way between measured ones, in 1/depth."""
    inverse = 1 / np.asarray(depths)
    return list((2 / (inverse[1:] + inverse[:-1])).tolist())


def spot_of(arrays: Arrays, sensor: Characterised, spec: OpticsSpec) -> Merged:
    """The merged light of one measurement, without cross-talk between pixels."""
    seen = window(arrays["corner"], arrays["light"].shape[-2:])
    merged = merge(
        Bracket.of(arrays), sensor.noise, sensor.response[seen], sensor.good[seen], sensor.response_error
    )
    return Merged(without_crosstalk(merged.rate, spec.sensor.crosstalk), merged.variance)


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
    good = sensor.good[window(arrays["corner"], spot.rate.shape)]
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
