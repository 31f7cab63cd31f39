"""The open bench: camera and board together, so that light, stage and frames can be asked for in one breath."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Literal, Self

import numpy as np

from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.hardware.as_built import PINHOLE, BuildErrors, build
from opticaldr.hardware.cameras import Camera, FlatPanel, SimulatedCamera
from opticaldr.hardware.rig import RigSpec
from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic


class Rig:
    """A bench, opened as a context manager; leaving it turns the source off and closes the shutter.

    with Rig(load_rig("simulated"), design=optic, seed=7) as rig:
        rig.go_to(0.6)
        frame = rig.camera.capture()

    Args:
        spec: what the bench is made of.
        design: the optic that was ordered; a simulated bench hides an imperfect build of it.
        seed: of a simulated bench: its build errors, drifts and noise.

    Attributes:
        camera: the open camera.
        board: the open board.
    """

    camera: Camera
    board: Board

    def __init__(self, spec: RigSpec, *, design: Optic, seed: int = 0) -> None:
        self.spec = spec
        self.world = _hidden_world(spec, design, seed)
        self._seed = seed
        self._homed = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.camera = stack.enter_context(SimulatedCamera(self.world, seed=self._seed))
            self.board = stack.enter_context(Board(SimulatedBoard(self.world)))
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

    def seat(self, measurement: int) -> None:
        """Begin measurement number `measurement`: on a simulated bench, its noise does not depend on what
        came before."""
        if isinstance(self.camera, SimulatedCamera):
            self.camera.reseed(measurement)

    @contextmanager
    def target(self, kind: Literal["source", "flat", "dark"]) -> Iterator[None]:
        """Show the camera the point source, an evenly lit panel, or nothing, until the block ends."""
        if kind == "flat":
            self.world.scene = FlatPanel()
        self.board.shutter(kind != "dark")
        try:
            yield
        finally:
            self.board.source(0.0)
            self.world.scene = None


def _hidden_world(spec: RigSpec, design: Optic, seed: int) -> World:
    rng = np.random.default_rng([seed, 0xB1D])
    errors = BuildErrors.draw(spec.simulation, rng)
    offset_x, offset_y = rng.uniform(-1, 1, size=2) * spec.simulation.source_offset
    return World(
        seed=seed,
        optic=build(design, errors),
        stage_origin=spec.stage.origin,
        source_offset=(float(offset_x), float(offset_y)),
        source_diameter=PINHOLE + errors.source,
        source_drift=spec.simulation.source_drift,
        stray_irradiance=spec.simulation.stray_irradiance,
    )
