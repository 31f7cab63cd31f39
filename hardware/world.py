"""The simulated world: one physical state that light source, stage, shutter, mask, SLM and camera share.

Nothing in here knows about a protocol or a driver. The simulated board drives it the way pins would, the
simulated camera looks at it the way a lens would, and a test reads the truth that an instrument can only
estimate. Time is simulated: it passes when something takes time (a move, an exposure, an explicit
:meth:`World.advance`), so ten minutes of bench work take as long as their arithmetic.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from opticaldr.models.optics import Optic

_DRIFT_PERIODS = (131.0, 617.0, 2903.0)  # seconds; incommensurate, so the sum never repeats in a session


@dataclass
class Stage:
    """A linear axis: a stepper pulls a carriage along a rail through a belt that has play.

    The motor knows how far it was turned, never where the carriage is. The carriage follows once the play is
    taken up (the *play* operator of hysteresis), closes a switch at either end of its travel, and a little
    later runs into a hard stop, where the motor stalls and loses steps.

    Attributes:
        travel: distance between the two end switches, metres.
        backlash: width of the play, metres.
        overtravel: distance from an end switch to its hard stop, metres.
        carriage: true position, metres from the low end switch.
        motor: where the carriage would be without play, metres; changes only at ``speed``.
    """

    travel: float = 0.9
    backlash: float = 80e-6
    overtravel: float = 3e-3
    carriage: float = 0.217
    motor: float = 0.217
    target: float = 0.217
    speed: float = 0.0

    @property
    def at_low(self) -> bool:
        """Whether the carriage presses the low end switch."""
        return self.carriage <= 0.0

    @property
    def at_high(self) -> bool:
        """Whether the carriage presses the high end switch."""
        return self.carriage >= self.travel

    @property
    def moving(self) -> bool:
        """Whether the motor is turning."""
        return self.motor != self.target

    def start(self, distance: float, speed: float) -> None:
        """Turn the motor by ``distance`` (metres, signed) at ``speed`` (metres per second)."""
        self.target = self.motor + distance
        self.speed = abs(speed)

    def stop(self) -> None:
        """Stop the motor where it is."""
        self.target = self.motor

    def flow(self, seconds: float) -> None:
        """Let the motor turn for ``seconds`` and the carriage follow."""
        if not self.moving:
            return
        reach = self.speed * seconds
        gap = self.target - self.motor
        self.motor = self.target if abs(gap) <= reach else self.motor + math.copysign(reach, gap)
        play = self.backlash / 2
        followed = min(max(self.carriage, self.motor - play), self.motor + play)
        self.carriage = min(max(followed, -self.overtravel), self.travel + self.overtravel)


@dataclass
class World:
    """Everything physical on the bench, and the clock it lives by.

    Attributes:
        seed: fixes the phase of every slow drift.
        paced: let simulated time pass no faster than real time (for people to watch).
        now: simulated seconds since the world began.
        drift_time: moment at which the slow drifts are held, seconds; None lets them follow the clock.
        stage: the depth axis.
        stage_origin: depth of the point source (metres from the pupil) with the carriage on the low switch.
        source_offset: lateral position (x, y) of the point source from the optical axis, metres; on a
            one-axis bench the technician sets it by hand.
        camera_turn: tangents (x, y) of the angle that the camera is turned by, so that the source's rail
            appears off axis by the same angle at every depth.
        source_drive: commanded fraction 0 … 1 of full power.
        source_full_intensity: radiant intensity at full drive, watts per steradian, spread evenly over the
            colours (a 50 µm pinhole before a 3·10⁵ W m⁻² sr⁻¹ LED gives about 6·10⁻⁴).
        source_diameter: of the evenly lit pinhole, metres.
        source_drift: peak relative drift of the source around its nominal power.
        stray_irradiance: ambient light reaching the sensor through the optics, W/m² in the sensor plane.
        leak_irradiance: ambient light reaching the sensor past the shutter, W/m² in the sensor plane.
        shutter_command: whether the shutter blade is asked to be open.
        shutter_time: seconds the blade needs from one end to the other.
        shutter_fitted: False when the blade was unplugged: it stays where it is and its sense switch is open.
        shutter_jammed: True while the blade sticks where it is.
        cover_closed: the tamper switch; False when somebody opened the housing.
        ambient_temperature: kelvin, around which the housing's temperature wanders by ``temperature_swing``.
        status_light: (red, green, blue), each 0 … 1.
        slm_frame_rate: refresh rate of the SLM whose sync line the board listens to, hertz.
        optic: the optics as built, through which the simulated camera looks.
        scene: what the camera is pointed at, in whatever form the camera in use understands; None is the
            bench with its point source alone.
        pulses: (start, width) in seconds of every pulse that went out on the trigger line.
        on_pulse: called with (start, width) when a pulse goes out; a simulated camera in external-trigger
            mode subscribes here.
    """

    seed: int = 0
    paced: bool = False
    now: float = 0.0
    drift_time: float | None = None
    stage: Stage = field(default_factory=Stage)
    stage_origin: float = 0.35
    source_offset: tuple[float, float] = (0.0, 0.0)
    camera_turn: tuple[float, float] = (0.0, 0.0)
    source_drive: float = 0.0
    source_full_intensity: float = 6e-4
    source_diameter: float = 0.0
    source_drift: float = 0.01
    stray_irradiance: float = 0.0
    leak_irradiance: float = 0.0
    shutter_command: bool = False
    shutter_time: float = 0.08
    shutter_fitted: bool = True
    shutter_jammed: bool = False
    cover_closed: bool = True
    ambient_temperature: float = 295.15
    temperature_swing: float = 0.4
    status_light: tuple[float, float, float] = (0.0, 0.0, 0.0)
    slm_frame_rate: float = 60.0
    optic: Optic | None = None
    scene: Any = None
    pulses: list[tuple[float, float]] = field(default_factory=list)
    on_pulse: list[Callable[[float, float], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._phases = rng.uniform(0.0, 2 * math.pi, size=(2, len(_DRIFT_PERIODS)))
        self._blade = 0.0  # 0 closed … 1 open
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._lock = threading.RLock()

    # What an instrument can see

    @property
    def depth(self) -> float:
        """True distance from the pupil to the point source, metres, to the nanometre."""
        return round(self.stage_origin + self.stage.carriage, 9)

    @property
    def source_place(self) -> tuple[float, float]:
        """Position (x, y) of the point source seen from the camera's axis, metres."""
        (x, y), (turn_x, turn_y) = self.source_offset, self.camera_turn
        return x + turn_x * self.depth, y + turn_y * self.depth

    @property
    def source_intensity(self) -> float:
        """Radiant intensity of the point source now, W/sr: drive times full power, with its slow drift."""
        return self.source_drive * self.source_full_intensity * (1 + self.source_drift * self._wander(0))

    @property
    def shutter_transmission(self) -> float:
        """Fraction of the light that passes the shutter now, 0 closed … 1 open."""
        return self._blade

    @property
    def shutter_sensed_closed(self) -> bool:
        """Whether the blade presses the switch at its closed end."""
        return self.shutter_fitted and self._blade == 0.0

    @property
    def temperature(self) -> float:
        """Temperature inside the housing, kelvin."""
        return self.ambient_temperature + self.temperature_swing * self._wander(1)

    @property
    def slm_frames(self) -> int:
        """Number of frame-sync edges the SLM has given since the world began."""
        return int(self.now * self.slm_frame_rate)

    # What an actuator can do

    def pulse(self, width: float) -> None:
        """Send one pulse of ``width`` seconds down the trigger line, starting now."""
        self.pulses.append((self.now, width))
        for listener in tuple(self.on_pulse):
            listener(self.now, width)

    def lose_power(self) -> None:
        """What the wiring does when the board dies: source dark, shutter springs closed, motor stops."""
        self.source_drive = 0.0
        self.shutter_command = False
        self.status_light = (0.0, 0.0, 0.0)
        self.stage.stop()

    def jam(self, opening: float) -> None:
        """Let the shutter's blade stick at ``opening``, 0 closed … 1 open."""
        self._blade, self.shutter_jammed = opening, True

    # Time

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; what was put on the agenda meanwhile happens at its own time.

        May be called from within an action on the agenda (a camera exposing inside a callback).
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: advance({seconds})")
        with self._lock:
            until = self.now + seconds
            while self._agenda and self._agenda[0][0] <= until:
                when, _, action = heapq.heappop(self._agenda)
                self._flow(when)
                action()
            self._flow(until)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do ``action`` at simulated time ``moment`` (at once when time advances, if that is past)."""
        with self._lock:
            heapq.heappush(self._agenda, (moment, next(self._order), action))

    def every(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
        """Do ``action`` every ``period`` seconds from now on; returns what ends it."""
        live = True

        def again() -> None:
            if live:
                self.at(self.now + period, again)
                action()

        def end() -> None:
            nonlocal live
            live = False

        self.at(self.now + period, again)
        return end

    def _flow(self, until: float) -> None:
        seconds = until - self.now
        if seconds <= 0:
            return
        self.stage.flow(seconds)
        if self.shutter_fitted and not self.shutter_jammed:
            reach = seconds / self.shutter_time * (1 if self.shutter_command else -1)
            self._blade = min(1.0, max(0.0, self._blade + reach))
        if self.paced:
            time.sleep(seconds)
        self.now = until

    def _wander(self, quantity: int) -> float:
        """A slow drift in -1 … 1 that is a function of time alone, however time was cut into steps."""
        moment = self.now if self.drift_time is None else self.drift_time
        turns = zip(_DRIFT_PERIODS, self._phases[quantity], strict=True)
        terms = (math.sin(2 * math.pi * moment / period + phase) for period, phase in turns)
        return sum(terms) / len(_DRIFT_PERIODS)
