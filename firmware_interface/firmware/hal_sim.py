"""The pins of a simulated board: the same calls as ``hal_rp2``, answered by a world instead of by metal.

``Hal(world)`` drives `opticaldr.hardware.world.World`. Without a world (MicroPython on a PC, where NumPy does
not exist) it drives :class:`Bench`, an ideal bench that lives in real time.
"""

import time

from . import mechanics

_STEP = mechanics.STEP_NM * 1e-9  # metres


def serviced() -> bool:
    """There is no service jumper."""
    return False


class Hal:
    """Pins, timers and the chip, as the application sees them."""

    def __init__(self, world=None, serial: bytes = b"SIMBOARD", reset_reason: int = 1, seed: int = 1) -> None:  # type: ignore[no-untyped-def]
        self.world = Bench() if world is None else world
        self._serial = serial
        self._reset_reason = reset_reason
        self._boot = seed
        self._from = self.world.stage.motor
        self._sign = 1
        self._pulses = 0
        self._armed = 0  # number of the pulse that is waiting; 0 none
        self._arms = 0

    def milliseconds(self) -> int:
        """Time since the world began."""
        return int(self.world.now * 1000)

    def random(self) -> int:
        """A 32-bit number that differs from one boot to the next."""
        return self._boot

    def feed(self) -> None:
        """Feed the hardware watchdog."""

    def unique_id(self) -> bytes:
        """Eight bytes that no other board has."""
        return self._serial

    def capabilities(self) -> int:
        """Bits in the order of ``wire.CAPABILITIES``."""
        return 0xFF

    def reset_reason(self) -> int:
        """Index into ``wire.RESET_REASONS``."""
        return self._reset_reason

    def source(self, level: int) -> None:
        """Drive of the point source, 0 … 4095."""
        self.world.source_drive = level / 4095

    def shutter(self, open: bool) -> None:
        """Send the blade to one of its ends."""
        self.world.shutter_command = open

    def blade_closed(self) -> bool:
        """Whether the blade presses the switch at its closed end."""
        return self.world.shutter_sensed_closed  # type: ignore[no-any-return]

    def cover_open(self) -> bool:
        """Whether the housing's cover is off its switch."""
        return not self.world.cover_closed

    def light(self, red: int, green: int, blue: int) -> None:
        """Colour of the status light, 0 … 255 each."""
        self.world.status_light = (red / 255, green / 255, blue / 255)

    def temperature(self) -> "int | None":
        """Millikelvin; None without a thermometer."""
        return round(self.world.temperature * 1000)

    def switches(self) -> "tuple[bool, bool]":
        """Whether the low and the high end switch are pressed."""
        return self.world.stage.at_low, self.world.stage.at_high

    def stage_start(self, steps: int, rate: int) -> None:
        """Turn the motor by ``steps`` (signed) at ``rate`` steps per second."""
        stage = self.world.stage
        self._from = stage.target  # a step that is under way is still finished
        self._sign = -1 if steps < 0 else 1
        stage.start(self._from + steps * _STEP - stage.motor, rate * _STEP)

    def stage_stop(self) -> None:
        """Stop at the end of the step that is under way."""
        stage = self.world.stage
        stage.target = self._from + self._sign * self._whole_steps() * _STEP

    def stage_taken(self) -> int:
        """Steps (signed) begun since the start."""
        return self._sign * self._whole_steps()

    def stage_moving(self) -> bool:
        """Whether the motor turns."""
        return self.world.stage.moving  # type: ignore[no-any-return]

    def arm_pulse(self, width: int, frames: int) -> None:
        """Send one pulse of ``width`` microseconds after ``frames`` more edges of the SLM's sync line."""
        world = self.world
        self._arms += 1
        self._armed = this = self._arms
        if frames and not world.slm_frame_rate:
            return
        start = (world.slm_frames + frames) / world.slm_frame_rate if frames else world.now

        def end() -> None:
            if self._armed == this:
                self._armed = 0
                self._pulses += 1

        def begin() -> None:
            if self._armed == this:
                world.pulse(width * 1e-6)
                world.at(world.now + width * 1e-6, end)

        if frames:
            world.at(start, begin)
        else:
            begin()

    def disarm_pulse(self) -> None:
        """Forget the pulse that waits."""
        self._armed = 0

    def pulses(self) -> int:
        """Pulses completed since boot."""
        return self._pulses

    def slm_frames(self) -> int:
        """Edges of the SLM's sync line."""
        return self.world.slm_frames  # type: ignore[no-any-return]

    def _whole_steps(self) -> int:
        begun = abs(self.world.stage.motor - self._from) / _STEP
        return int(begun + 0.999)


class Bench:
    """An ideal bench for where `opticaldr.hardware.world` cannot run: no play, no drift, real time."""

    def __init__(self) -> None:
        self.stage = _Rail(self)
        self.source_drive = 0.0
        self.shutter_command = False
        self.cover_closed = True
        self.status_light = (0.0, 0.0, 0.0)
        self.temperature = 295.15
        self.slm_frame_rate = 60.0
        self._agenda: list = []  # type: ignore[type-arg]
        self._now = 0.0
        self._ticks = _ticks()

    @property
    def now(self) -> float:
        """Seconds since the bench began."""
        ticks = _ticks()
        self._now += _since(ticks, self._ticks) * 1e-3
        self._ticks = ticks
        for item in [item for item in self._agenda if item[0] <= self._now]:
            self._agenda.remove(item)
            item[1]()
        return self._now

    @property
    def shutter_sensed_closed(self) -> bool:
        """The blade is as fast as thought."""
        return not self.shutter_command

    @property
    def slm_frames(self) -> int:
        """Edges of an SLM that never stops."""
        return int(self.now * self.slm_frame_rate)

    def pulse(self, width: float) -> None:
        """Nobody listens to the trigger line."""

    def at(self, moment: float, action) -> None:  # type: ignore[no-untyped-def]
        """Do ``action`` at ``moment``."""
        self._agenda.append((moment, action))


class _Rail:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._start = self.target = 0.004
        self._began = 0.0
        self._speed = 1.0

    @property
    def motor(self) -> float:
        way = self.target - self._start
        gone = self._speed * (self._bench.now - self._began)
        return self.target if gone >= abs(way) else self._start + (gone if way > 0 else -gone)

    @property
    def moving(self) -> bool:
        return self.motor != self.target

    @property
    def at_low(self) -> bool:
        return self.motor <= 0.0

    @property
    def at_high(self) -> bool:
        return self.motor >= 0.9

    def start(self, distance: float, speed: float) -> None:
        self._start = self.motor
        self._began = self._bench.now
        self.target = self._start + distance
        self._speed = speed


def _ticks() -> int:
    return time.ticks_ms() if hasattr(time, "ticks_ms") else int(time.monotonic() * 1000)


def _since(later: int, earlier: int) -> int:
    return time.ticks_diff(later, earlier) if hasattr(time, "ticks_diff") else later - earlier  # type: ignore[no-any-return]
