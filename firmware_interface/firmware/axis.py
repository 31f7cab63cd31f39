"""The stage's motion: homing and moves as a row of legs, each ended by a count of steps or by a switch.

A belt has play, so a position only means something from one side. Home is where the low switch lets go on the
way *up*, and every move arrives from below: position and carriage then differ by a constant.
"""

from . import mechanics, wire

_COUNT, _PRESSED, _RELEASED = range(3)  # what ends a leg


class Axis:
    """Position in steps from home, kept by counting what the motor was told."""

    def __init__(self, hal) -> None:  # type: ignore[no-untyped-def]
        self.hal = hal
        self.homed = False
        self.outcome = wire.NEVER
        self._base = 0
        self._legs: list = []  # type: ignore[type-arg]
        self._homing = False

    @property
    def moving(self) -> bool:
        """Whether a motion is under way."""
        return bool(self._legs)

    @property
    def position(self) -> int:
        """Steps from home (from the place of power-up before homing)."""
        return self._base + (self.hal.stage_taken() if self._legs else 0)

    def home(self) -> None:
        """Set out to find the low switch."""
        self.homed = False
        far = mechanics.TRAVEL + mechanics.TRAVEL // 10
        self._homing = True
        self._set_out(
            [
                (-far, mechanics.FAST, _PRESSED),
                (mechanics.CLEARANCE, mechanics.FAST, _COUNT),
                (-2 * mechanics.CLEARANCE, mechanics.SLOW, _PRESSED),
                (mechanics.CLEARANCE, mechanics.SLOW, _RELEASED),
            ]
        )

    def move(self, target: int) -> None:
        """Set out for ``target`` steps from home."""
        self._homing = False
        distance = target - self._base
        if distance > 0:
            legs = [(distance, mechanics.FAST, _COUNT)]
        elif distance < 0:
            back = distance - mechanics.APPROACH
            legs = [(back, mechanics.FAST, _COUNT), (mechanics.APPROACH, mechanics.FAST, _COUNT)]
        else:
            legs = [(0, mechanics.FAST, _COUNT)]
        self._set_out(legs)

    def stop(self) -> None:
        """Stand still now."""
        if self._legs:
            self._end(wire.STOPPED)

    def poll(self) -> bool:
        """Look after the motion; True when it has just ended (see ``outcome``)."""
        if not self._legs:
            return False
        steps, _, until = self._legs[0]
        low, high = self.hal.switches()
        if (until == _PRESSED and low) or (until == _RELEASED and not low):
            self._next_leg()
        elif (high and steps > 0) or (low and until == _COUNT and self._low_is_wrong(steps)):
            self.homed = False
            self._end(wire.HIT_SWITCH)
        elif self.hal.stage_moving():
            return False
        elif until != _COUNT:
            self._end(wire.NO_SWITCH)
        else:
            self._next_leg()
        return not self._legs

    def _low_is_wrong(self, steps: int) -> bool:
        return steps < 0 and self.homed and self.position > mechanics.SWITCH_SLACK

    def _set_out(self, legs: list) -> None:  # type: ignore[type-arg]
        self._legs = legs
        self._start()

    def _start(self) -> None:
        steps, rate, _ = self._legs[0]
        self.hal.stage_start(steps, rate)

    def _next_leg(self) -> None:
        self._stand()
        del self._legs[0]
        if self._legs:
            self._start()
        elif self._homing:
            self._base = 0
            self.homed = True
            self.outcome = wire.HOMED
        else:
            self.outcome = wire.ARRIVED

    def _end(self, outcome: int) -> None:
        self._stand()
        self._legs = []
        self.outcome = outcome

    def _stand(self) -> None:
        self.hal.stage_stop()
        self._base += self.hal.stage_taken()
