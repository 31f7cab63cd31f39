"""The pins of a Raspberry Pi Pico (RP2040 or RP2350): what the application asks for, done by the chip.

Steps and trigger pulses are made by PIO state machines, so that their timing does not depend on the program.
Every contact is wired so that a broken wire reads as the unsafe state: end switch pressed, cover open, blade
not closed.
"""

# The names inside the two PIO programs belong to the assembler.
# ruff: noqa: F821
# mypy: ignore-errors

import os
import struct
import time

import machine
import neopixel
import rp2

from . import mechanics, wire

_STEP_CYCLES = 32  # of the state machine, per step
_PULSE_HZ = 1000000  # one cycle a microsecond
_PULSE_OVERHEAD = 2  # cycles a pulse lasts beyond the counted ones
_PWM_HZ = 20000  # 6250 levels at 125 MHz, more than the 4096 that are asked for
_WATCHDOG_MS = 2000
_RESET_REASONS = {machine.PWRON_RESET: 1, machine.WDT_RESET: 3}


@rp2.asm_pio(set_init=rp2.PIO.OUT_LOW)
def _steps():
    """Take a count less one; make that many steps of 32 cycles; say when done."""
    pull(block)
    mov(x, osr)
    label("step")
    set(pins, 1)[14]
    set(pins, 0)[15]
    jmp(x_dec, "step")
    push(noblock)


@rp2.asm_pio(set_init=rp2.PIO.OUT_LOW)
def _pulse():
    """Take a count of edges and a width less two; wait for the edges; make the pulse; say when done."""
    pull(block)
    mov(y, osr)
    pull(block)
    mov(x, osr)
    jmp("test")
    label("edge")
    wait(0, pin, 0)
    wait(1, pin, 0)
    label("test")
    jmp(y_dec, "edge")
    set(pins, 1)
    label("high")
    jmp(x_dec, "high")
    set(pins, 0)
    push(noblock)


def serviced():
    """Whether the service jumper asks the firmware not to start."""
    return not _contact(mechanics.PIN_SERVICE).value()


class Hal:
    """Pins, timers and the chip, as the application sees them."""

    def __init__(self):
        self._milliseconds = 0
        self._ticks = time.ticks_ms()
        self._source = machine.PWM(machine.Pin(mechanics.PIN_SOURCE), freq=_PWM_HZ, duty_u16=0)
        self._solenoid = machine.PWM(machine.Pin(mechanics.PIN_SHUTTER), freq=_PWM_HZ, duty_u16=0)
        self._pulled_in = machine.Timer(-1)
        self._open = False
        self._direction = machine.Pin(mechanics.PIN_DIRECTION, machine.Pin.OUT, value=0)
        self._low = _contact(mechanics.PIN_LOW)
        self._high = _contact(mechanics.PIN_HIGH)
        self._blade = _contact(mechanics.PIN_BLADE)
        self._cover = _contact(mechanics.PIN_COVER)
        self._slm = machine.Pin(mechanics.PIN_SLM, machine.Pin.IN, machine.Pin.PULL_DOWN)
        self._slm.irq(self._count_frame, machine.Pin.IRQ_RISING)
        self._slm_frames = 0
        self._light = neopixel.NeoPixel(machine.Pin(mechanics.PIN_LIGHT), 1)
        self._bus = machine.I2C(0, sda=machine.Pin(mechanics.PIN_SDA), scl=machine.Pin(mechanics.PIN_SCL))
        self._motor = None
        self._asked = self._taken = 0
        self._rate = 1
        self._began = 0
        self._pulses = 0
        self._start_trigger()
        self._watchdog = machine.WDT(timeout=_WATCHDOG_MS)

    def milliseconds(self):
        """Time since the start; does not wrap as the chip's own ticks do."""
        ticks = time.ticks_ms()
        self._milliseconds += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._milliseconds

    def random(self):
        """A 32-bit number that differs from one boot to the next."""
        return struct.unpack("<I", os.urandom(4))[0]

    def feed(self):
        """Feed the hardware watchdog."""
        self._watchdog.feed()

    def unique_id(self):
        """Eight bytes that no other board has."""
        return machine.unique_id()

    def capabilities(self):
        """Bits in the order of ``wire.CAPABILITIES``."""
        parts = 0xFF
        if not mechanics.SHUTTER:
            parts &= ~(1 << wire.CAPABILITIES.index("shutter"))
        if self.temperature() is None:
            parts &= ~(1 << wire.CAPABILITIES.index("temperature"))
        return parts

    def reset_reason(self):
        """Index into ``wire.RESET_REASONS``."""
        return _RESET_REASONS.get(machine.reset_cause(), 0)

    def source(self, level):
        """Drive of the point source, 0 … 4095."""
        self._source.duty_u16(level * 65535 // 4095)

    def shutter(self, open):
        """Pull the blade open, with full current first, or let its spring close it."""
        self._open = open
        self._pulled_in.deinit()
        self._solenoid.duty_u16(65535 if open else 0)
        if open:
            self._pulled_in.init(
                mode=machine.Timer.ONE_SHOT, period=mechanics.PULL_IN_MS, callback=self._hold_open
            )

    def blade_closed(self):
        """Whether the blade presses the switch at its closed end (contact to ground)."""
        if not mechanics.SHUTTER:
            return not self._open
        return not self._blade.value()

    def cover_open(self):
        """Whether the housing's cover is off its switch (contact to ground)."""
        return bool(self._cover.value())

    def light(self, red, green, blue):
        """Colour of the status light, 0 … 255 each."""
        self._light[0] = (red, green, blue)
        self._light.write()

    def temperature(self):
        """Millikelvin from the TMP117 (7.8125 m°C a count); None when it does not answer."""
        try:
            (counts,) = struct.unpack(">h", self._bus.readfrom_mem(mechanics.THERMOMETER, 0, 2))
        except OSError:
            return None
        return 273150 + counts * 78125 // 10000

    def switches(self):
        """Whether the low and the high end switch are pressed (contacts that open)."""
        return bool(self._low.value()), bool(self._high.value())

    def stage_start(self, steps, rate):
        """Turn the motor by ``steps`` (signed) at ``rate`` steps per second."""
        self._asked, self._taken, self._rate = steps, 0, rate
        self._began = time.ticks_ms()
        if not steps:
            return
        self._direction.value(steps < 0)
        step = machine.Pin(mechanics.PIN_STEP)
        self._motor = rp2.StateMachine(0, _steps, freq=rate * _STEP_CYCLES, set_base=step)
        self._motor.active(1)
        self._motor.put(abs(steps) - 1)

    def stage_stop(self):
        """Stop, and find out how many steps were begun."""
        motor, self._motor = self._motor, None
        if motor is None:
            return
        motor.active(0)
        left = 0
        if not motor.rx_fifo():
            motor.exec("mov(isr, x)")
            motor.exec("push(noblock)")
            left = motor.get()
        self._taken = self._signed(abs(self._asked) - left)

    def stage_taken(self):
        """Steps (signed) begun since the start; while the motor turns, by the clock."""
        if self._motor is None:
            return self._taken
        if self._motor.rx_fifo():
            return self._asked
        elapsed = time.ticks_diff(time.ticks_ms(), self._began)
        return self._signed(min(abs(self._asked), elapsed * self._rate // 1000))

    def stage_moving(self):
        """Whether the motor turns."""
        return self._motor is not None and not self._motor.rx_fifo()

    def arm_pulse(self, width, frames):
        """Send one pulse of ``width`` microseconds after ``frames`` more edges of the SLM's sync line."""
        self._trigger.put(frames)
        self._trigger.put(width - _PULSE_OVERHEAD)

    def disarm_pulse(self):
        """Forget the pulse that waits, or end the one going out."""
        self._trigger.active(0)
        self._start_trigger()

    def pulses(self):
        """Pulses completed since boot."""
        while self._trigger.rx_fifo():
            self._trigger.get()
            self._pulses += 1
        return self._pulses

    def slm_frames(self):
        """Edges of the SLM's sync line."""
        return self._slm_frames

    def _start_trigger(self):
        self._trigger = rp2.StateMachine(
            4, _pulse, freq=_PULSE_HZ, set_base=machine.Pin(mechanics.PIN_TRIGGER), in_base=self._slm
        )
        self._trigger.active(1)

    def _hold_open(self, _):
        self._solenoid.duty_u16(65535 * mechanics.HOLD_PERCENT // 100)

    def _count_frame(self, _):
        self._slm_frames += 1

    def _signed(self, steps):
        return -steps if self._asked < 0 else steps


def _contact(pin):
    return machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
