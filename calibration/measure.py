"""The bench session: a first look, dark and flat frames, then the spot at every place of the grid, and the first again.

Every measurement is on disk before the next begins. On a simulated bench each has its own stream of noise and its own
moment of the slow drifts, and the stage is homed before the first, so a session that was interrupted anywhere ends with
the very arrays of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration import capture
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.first_look import Candidate, look
from opticaldr.calibration.photon_transfer import Characterised, characterise
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Arrays, Session
from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import BuildErrors
from opticaldr.hardware.cameras.simulated import spot_reach
from opticaldr.hardware.chart import Chart, Display, noise_chart
from opticaldr.hardware.rig import RigSpec
from opticaldr.models.optics import Optic, OpticsSpec
from opticaldr.models.optics.geometry import ON_AXIS, Field

Progress = Callable[[str, int, int], None]

_MARGIN = 8  # raw pixels between the outermost window and the sensor's rim


@dataclass(frozen=True)
class Measured:
    """What a session brought home.

    `spots`: arrays of `capture.spot`, field by field, each at all depths; `again`: the first place at the end;
    `depths`: asked for; `fields`: tangents (x, y) asked for, the axis first; `hidden`: of a simulated bench,
    how its optic was really built; `chart`: if it was asked for, the noise chart and a spot at its distance.
    """

    sensor: Characterised
    spots: list[Arrays]
    again: Arrays
    depths: NDArray[np.float64]
    fields: list[Field]
    hidden: BuildErrors | None
    chart: tuple[Arrays, Arrays] | None = None


def measure(
    design: Optic,
    rig: RigSpec,
    plan: Plan,
    session: Session,
    seed: int,
    progress: Progress,
    *,
    others: Sequence[Candidate] = (),
) -> Measured:
    """Measure what the session's folder does not hold yet.

    Args:
        design: what was ordered.
        rig: the bench.
        plan: how much is measured.
        session: keeps every measurement.
        seed: of a simulated bench.
        progress: told of every measurement.
        others: optics that may stand on the bench instead, for the first look.

    Raises:
        Refusal: the bench does not answer, or the first look shows that there is nothing to calibrate; what was
            measured is kept.
    """
    done = 0
    with _kept(session, lambda: done), Rig(rig, design=design, seed=seed) as bench:
        depths = capture.planned_depths(plan, design.spec, bench.reach)
        shape = window_shape(design, depths)
        fields = field_grid(plan.fields, design.spec, shape)
        places = [(field, float(depth)) for field in fields for depth in depths]
        beside, display = None, rig.chart
        if plan.chart:
            shown, near = chart_of(design, display), window_shape(design, np.array([display.distance]))
            if not bench.reach[0] <= display.distance <= bench.reach[1]:
                raise Refusal(
                    f"the point source cannot stand at the {display.distance:g} m of the display",
                    f"choose {bench.reach[0]:.3g} to {bench.reach[1]:.3g} m (chart.distance in the rig file)",
                )
        total = 4 + len(places) + 2 * plan.chart

        def take(name: str, what: Callable[[], Arrays], place: tuple[Field, float]) -> Arrays:
            nonlocal done

            def at_its_place() -> Arrays:
                bench.go_to(places[0][1])  # homes the stage first, so that the way here does not matter
                bench.face(place[0])
                bench.go_to(place[1])
                bench.seat(done)
                return what()

            arrays = session.measure(name, at_its_place)
            done += 1
            progress("measure", done, total)
            return arrays

        def spot(name: str, field: Field, depth: float) -> Arrays:
            return take(name, lambda: capture.spot(bench, plan, depth, shape), (field, depth))

        def looked() -> Arrays:
            look(bench, design, others, first[1], (side, side))
            return {}

        first, side = places[0], max(shape)
        progress("first look", 0, 1)
        # Kept only if nothing is wrong: what was mended is looked at again.
        take("look", looked, first)
        progress("first look", 1, 1)
        dark = take("dark", lambda: capture.dark(bench, plan), first)
        flat = take("flat", lambda: capture.flat(bench, plan), first)
        spots = [spot(f"spot-{number}", *place) for number, place in enumerate(places)]
        again = spot("reference", *first)
        if plan.chart:
            picture = session.beside("chart.png")

            def chart() -> Arrays:
                shown.write(picture)
                return capture.chart(bench, plan, picture)

            beside = (
                take("chart", chart, first),
                take(
                    "chart-spot",
                    lambda: capture.spot(bench, plan, display.distance, near),
                    (ON_AXIS, display.distance),
                ),
            )
        white, hidden = bench.camera.info.white_level, bench.hidden
    sensor = characterise(
        dark, flat, exposures=(capture.SHORT, capture.LONG), high_gain=capture.HIGH_GAIN, white_level=white
    )
    return Measured(sensor, spots, again, depths, fields, hidden, beside)


def chart_of(design: Optic, display: Display) -> Chart:
    """The noise chart for a design: its light spreads as far as the spot's window reaches."""
    rows, columns = window_shape(design, np.array([display.distance]))
    return noise_chart(display, design.spec, (rows // 2, columns // 2))


def window_shape(design: Optic, depths: NDArray[np.float64]) -> tuple[int, int]:
    """Rows and columns of a window, multiples of four, that holds the designed spot at every depth.

    It has room to spare for a build that is turned or spreads a little wider.
    """
    reach = np.max([spot_reach(design, float(depth)) for depth in depths], axis=0)
    rows, columns = (
        min(int(np.ceil(side / 4)) * 4, limit // 4 * 4)
        for side, limit in zip(2 * reach + 0.2 * reach.max(), design.spec.sensor.shape, strict=True)
    )
    return rows, columns


def field_grid(count: int, spec: OpticsSpec, shape: tuple[int, int]) -> list[Field]:
    """Tangents (x, y) of 1, 5 (corners) or 9 (a 3 × 3 grid) field angles, the axis first, as far out as windows fit.

    Raises:
        Refusal: a window fills the sensor, so there is no room off axis.
    """
    if count == 1:
        return [ON_AXIS]
    reach = [
        ((extent - side) / 2 - _MARGIN) * spec.sensor.pitch / spec.sensor_distance
        for extent, side in zip(spec.sensor.shape, shape, strict=True)
    ]
    if min(reach) <= 0:
        raise Refusal(
            f"the spot's window of {shape} pixels leaves no room off axis on {spec.sensor.shape} pixels",
            "measure on axis alone: --fields 1",
        )
    grid = [(x * reach[1], y * reach[0]) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x, y) != (0, 0)]
    return [ON_AXIS, *(point for point in grid if count == 9 or 0 not in point)]


class _kept:
    """Says with every refusal on the way how much is kept and how to go on."""

    def __init__(self, session: Session, done: Callable[[], int]) -> None:
        self.session, self.done = session, done

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Refusal) and self.done():
            kept = "1 measurement is" if self.done() == 1 else f"{self.done()} measurements are"
            raise Refusal(
                error.what,
                f"{error.remedy}; {kept} kept in {self.session.folder}, the same command goes on from there",
            ) from None
