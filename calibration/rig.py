"""The open bench: camera and board together, so that light, stage and frames can be asked for in one breath."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from opticaldr.errors import Refusal
from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.hardware.as_built import PINHOLE, BuildErrors, build
from opticaldr.hardware.cameras import Camera, FlatPanel, SimulatedCamera
from opticaldr.hardware.cameras.screen import Screen
from opticaldr.hardware.rig import SIMULATED, ReplayPart, RigSpec, SimulatedPart, camera_of
from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic

_SEAT = 60.0  # seconds of the slow drifts that a measurement takes


def ask_at_terminal(what: str) -> None:
    """Ask whoever sits at the terminal to do something and to press Enter.

    Raises:
        Refusal: nobody can answer.
    """
    if not sys.stdin.isatty():
        raise Refusal(f"this bench needs a person: {what}", "run the same command from a terminal")
    sys.stderr.write(f"\n{what}, then press Enter ")
    sys.stderr.flush()
    sys.stdin.readline()


class Rig:
    """A bench, opened as a context manager; leaving it turns the source off and closes the shutter.

    with Rig(load_rig("simulated"), design=optic, seed=7) as rig:
        rig.go_to(0.6)
        frame = rig.camera.capture()

    Args:
        spec: what the bench is made of.
        design: the optic that was ordered; a simulated bench hides an imperfect build of it.
        seed: of a simulated bench: its build errors, drifts and noise.
        ask: asks whoever stands at a real bench to do something, and returns once it is done.

    Raises:
        Refusal: on entering, the board or the camera is not there, is held by somebody else, or gives other frames
            than the design was made for.

    Attributes:
        camera: the open camera.
        board: the open board.
        hidden: of a simulated bench, how its optic was really built; for judging what was found, never used
            while finding it.
    """

    camera: Camera
    board: Board

    def __init__(
        self, spec: RigSpec, *, design: Optic, seed: int = 0, ask: Callable[[str], None] = ask_at_terminal
    ) -> None:
        self.spec = spec
        self.world, errors = _hidden_world(spec, design, seed)
        self._attended = not isinstance(spec.camera, SimulatedPart | ReplayPart)
        self.hidden = None if self._attended else errors
        self._sensor = design.spec.sensor
        self._ask = ask
        self._seed = seed
        self._homed = False

    def __enter__(self) -> Self:
        sensor = self._sensor
        camera = camera_of(self.spec.camera, world=self.world, sensor=sensor, seed=self._seed)
        port = self.spec.board.port
        with ExitStack() as stack:
            self.board = stack.enter_context(Board(SimulatedBoard(self.world) if port == SIMULATED else port))
            self.camera = stack.enter_context(camera)
            self.camera.info.check(sensor)
            self._leave = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.__exit__(kind, error, trace)

    @property
    def truth(self) -> Optic:
        """The hidden build of a simulated bench, for judging what was found; never used while finding it."""
        assert self.world.optic is not None
        return self.world.optic

    @property
    def reach(self) -> tuple[float, float]:
        """Nearest and farthest depth of the point source, metres."""
        return self.spec.stage.origin, self.spec.stage.origin + self.board.info().travel

    def go_to(self, depth: float) -> float:
        """Move the point source to `depth` and return the depth reached, metres."""
        if not self._homed:
            self.board.home()
            self._homed = True
        return self.spec.stage.origin + self.board.move_to(depth - self.spec.stage.origin)

    def face(self, field: tuple[float, float]) -> None:
        """Turn the camera until the source appears at these tangents (x, y) of the field angle."""
        if self._attended and field != self.world.camera_turn:
            angles = ", ".join(f"{math.degrees(math.atan(tangent)):.1f}°" for tangent in field)
            self._ask(f"turn the camera until the source appears {angles} off axis (right, down)")
        self.world.camera_turn = field

    def seat(self, measurement: int) -> None:
        """Begin measurement number `measurement`: on a simulated bench, neither its noise nor its slow drifts
        depend on what came before."""
        self.world.drift_time = measurement * _SEAT
        if isinstance(self.camera, SimulatedCamera):
            self.camera.reseed(measurement)

    @contextmanager
    def chart(self, picture: Path) -> Iterator[None]:
        """Show the camera a picture (PNG) on the display of the rig file, until the block ends."""
        from PIL import Image

        display = self.spec.chart
        if self._attended:
            self._ask(
                f"show {picture} unscaled on the whole of a monitor of {display.columns} x {display.rows} pixels at "
                f"full brightness, {display.distance:g} m from the pupil, upright, in a dark room"
            )
        with Image.open(picture) as shown:
            rng = np.random.default_rng([self._seed, 0xC4A])
            self.world.scene = Screen.draw(display, np.asarray(shown), rng)
        self.board.shutter(True)
        try:
            yield
        finally:
            self.world.scene = None
        if self._attended:
            self._ask("take the monitor away")

    @contextmanager
    def target(self, kind: Literal["source", "flat", "dark"]) -> Iterator[None]:
        """Show the camera the point source, an evenly lit panel, or nothing, until the block ends."""
        if kind == "flat":
            if self._attended:
                self._ask("switch the flat panel on and hold it right before the lens")
            self.world.scene = FlatPanel()
        self.board.shutter(kind != "dark")
        try:
            yield
        finally:
            self.board.source(0.0)
            self.world.scene = None
        if kind == "flat" and self._attended:
            self._ask("take the flat panel away")


def _hidden_world(spec: RigSpec, design: Optic, seed: int) -> tuple[World, BuildErrors]:
    rng = np.random.default_rng([seed, 0xB1D])
    errors = spec.faults.built(BuildErrors.draw(spec.simulation, rng))
    offset_x, offset_y = rng.uniform(-1, 1, size=2) * spec.simulation.source_offset
    world = World(
        seed=seed,
        optic=build(spec.faults.mounted(design), errors),
        stage_origin=spec.stage.origin,
        source_offset=(float(offset_x), float(offset_y)),
        source_diameter=PINHOLE + errors.source,
        source_drift=spec.simulation.source_drift,
        stray_irradiance=spec.simulation.stray_irradiance,
    )
    spec.faults.plant(world)
    return world, errors
