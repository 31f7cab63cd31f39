"""A Pico made of Python: enough of ``machine``, ``rp2`` and ``neopixel`` to run ``hal_rp2`` to the cycle.

The two PIO programs are assembled by the names they use and executed instruction by instruction, as in
section 3.4 of the RP2040 datasheet; the clock only moves when :meth:`Chip.advance` says so.
"""

from __future__ import annotations

import struct
import sys
import types
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Instruction:
    name: str
    args: tuple[Any, ...]
    delay: int = 0

    def __getitem__(self, delay: int) -> Instruction:
        self.delay = delay
        return self


class Program:
    """What ``asm_pio`` makes of a function: instructions, and where the labels point."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}

        def emit(name: str) -> Callable[..., Instruction]:
            def instruction(*args: Any) -> Instruction:
                self.code.append(Instruction(name, args))
                return self.code[-1]

            return instruction

        names: dict[str, Any] = {n: emit(n) for n in ("pull", "push", "mov", "jmp", "set", "wait")}
        names["label"] = lambda label: self.labels.__setitem__(label, len(self.code))
        names |= {n: n for n in ("block", "noblock", "osr", "isr", "x", "y", "pins", "pin", "x_dec", "y_dec")}
        types.FunctionType(function.__code__, names)()


@dataclass
class Chip:
    """Pins by number, state machines, a clock in microseconds."""

    now: float = 0.0
    pins: dict[int, Pin] = field(default_factory=dict)
    machines: dict[int, StateMachine] = field(default_factory=dict)
    registers: dict[int, bytes] = field(default_factory=dict)  # of the thermometer
    duty: dict[int, int] = field(default_factory=dict)
    colour: tuple[int, int, int] = (0, 0, 0)
    fed: float = 0.0
    timers: list[tuple[float, Callable[[None], None]]] = field(default_factory=list)
    outside: Callable[[], None] = lambda: None  # the world around the chip, looked at every 20 µs

    def pin(self, number: int) -> Pin:
        return self.pins.setdefault(number, Pin(self, number))

    def advance(self, microseconds: float) -> None:
        until = self.now + microseconds
        while self.now < until:
            self.now += 20.0
            self.outside()
            for due in [timer for timer in self.timers if timer[0] <= self.now]:
                self.timers.remove(due)
                due[1](None)
            for each in self.machines.values():
                each.run_until(self.now)


class Pin:
    IN, OUT, PULL_UP, PULL_DOWN, IRQ_RISING = range(5)

    def __init__(self, chip: Chip, number: int) -> None:
        self.chip, self.number, self.level = chip, number, 0
        self.edges: list[tuple[float, int]] = []
        self.handler: Callable[[Pin], None] | None = None

    def value(self, level: int | None = None) -> int:
        if level is not None:
            self.drive(int(level), self.chip.now)
        return self.level

    def drive(self, level: int, when: float) -> None:
        if level != self.level:
            self.level = level
            self.edges.append((when, level))
            if level and self.handler:
                self.handler(self)

    def irq(self, handler: Callable[[Pin], None], _: int) -> None:
        self.handler = handler


class StateMachine:
    def __init__(self, chip: Chip, program: Program, freq: int, set_base: Pin, in_base: Pin | None) -> None:
        assert freq >= 1908  # the divider has 16 bits at 125 MHz
        self.chip, self.program, self.period = chip, program, 1e6 / freq
        self.set_base, self.in_base = set_base, in_base
        self.tx: deque[int] = deque()
        self.rx: deque[int] = deque()
        self.x = self.y = self.osr = self.isr = self.pc = self.next = self.wait = 0
        self.running = False
        self.time = chip.now
        set_base.drive(0, chip.now)

    def active(self, on: int) -> None:
        self.running, self.time = bool(on), self.chip.now

    def put(self, value: int) -> None:
        assert 0 <= value < 1 << 32
        assert len(self.tx) < 4
        self.tx.append(value)

    def get(self) -> int:
        return self.rx.popleft()

    def rx_fifo(self) -> int:
        return len(self.rx)

    def exec(self, text: str) -> None:
        name, _, arguments = text.rstrip(")").partition("(")
        self.execute(Instruction(name, tuple(a.strip() for a in arguments.split(","))))

    def run_until(self, until: float) -> None:
        while self.running and self.time + self.period <= until:
            self.time += self.period
            if self.wait:
                self.wait -= 1
                continue
            instruction = self.program.code[self.pc]
            self.next = (self.pc + 1) % len(self.program.code)
            if self.execute(instruction):
                self.pc = self.next
                self.wait = instruction.delay

    def execute(self, instruction: Instruction) -> bool:
        """Carry one instruction out; False while it stalls."""
        args = instruction.args
        match instruction.name:
            case "pull":
                if not self.tx:
                    return False
                self.osr = self.tx.popleft()
            case "push":
                if len(self.rx) < 4:
                    self.rx.append(self.isr)
                self.isr = 0
            case "mov":
                setattr(self, args[0], getattr(self, args[1]))
            case "set":
                self.set_base.drive(args[1], self.time)
            case "wait":
                assert self.in_base is not None
                return self.in_base.level == args[0]
            case "jmp":
                taken = True
                if len(args) == 2:
                    register = args[0][0]
                    value = getattr(self, register)
                    taken = value != 0
                    setattr(self, register, (value - 1) & 0xFFFFFFFF)
                if taken:
                    self.next = self.program.labels[args[-1]]
        return True


def install(monkeypatch: Any) -> Chip:
    """Put the chip's modules where ``import machine`` finds them."""
    chip = Chip()

    def pin(number: int, mode: int = 0, pull: int = 0, value: int | None = None) -> Pin:
        found = chip.pin(number)
        if value is not None:
            found.value(value)
        return found

    for name in ("IN", "OUT", "PULL_UP", "PULL_DOWN", "IRQ_RISING"):
        setattr(pin, name, getattr(Pin, name))

    class Pwm:
        def __init__(self, pin: Pin, freq: int, duty_u16: int = 0) -> None:
            self.number = pin.number
            self.duty_u16(duty_u16)

        def duty_u16(self, duty: int) -> None:
            chip.duty[self.number] = duty

    class Timer:
        ONE_SHOT = 0

        def __init__(self, number: int) -> None: ...

        def init(self, mode: int, period: int, callback: Callable[[None], None]) -> None:
            chip.timers.append((chip.now + period * 1e3, callback))

        def deinit(self) -> None:
            chip.timers.clear()

    class I2c:
        def __init__(self, bus: int, sda: Pin, scl: Pin) -> None: ...

        def readfrom_mem(self, address: int, register: int, count: int) -> bytes:
            if address not in chip.registers:
                raise OSError(5)
            return chip.registers[address][:count]

    class Wdt:
        def __init__(self, timeout: int) -> None: ...

        def feed(self) -> None:
            chip.fed = chip.now

    class NeoPixel(dict):  # type: ignore[type-arg]
        def __init__(self, pin: Pin, count: int) -> None: ...

        def write(self) -> None:
            chip.colour = self[0]

    def machine(number: int, program: Program, freq: int, set_base: Pin, in_base: Pin | None = None) -> Any:
        chip.machines[number] = StateMachine(chip, program, freq, set_base, in_base)
        return chip.machines[number]

    modules = {
        "machine": {
            "Pin": pin,
            "PWM": Pwm,
            "Timer": Timer,
            "I2C": I2c,
            "WDT": Wdt,
            "PWRON_RESET": 1,
            "WDT_RESET": 3,
            "reset_cause": lambda: 3,
            "unique_id": lambda: b"\xe6\x61\x10\x03\x0b\x32\x1f\x2a",
        },
        "rp2": {
            "PIO": types.SimpleNamespace(OUT_LOW=0),
            "asm_pio": lambda set_init: Program,
            "StateMachine": machine,
        },
        "neopixel": {"NeoPixel": NeoPixel},
    }
    for name, contents in modules.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**contents))
    import time

    monkeypatch.setattr(time, "ticks_ms", lambda: int(chip.now / 1000) & 0x3FFFFFFF, raising=False)
    wrap = 0x40000000
    monkeypatch.setattr(
        time,
        "ticks_diff",
        lambda later, earlier: (later - earlier + wrap // 2) % wrap - wrap // 2,
        raising=False,
    )
    chip.registers[0x48] = struct.pack(">h", 3200)  # 25 °C
    return chip
