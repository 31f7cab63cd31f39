"""One conversation with a board: greeting, commands acted on once, events, signs of life, reconnection."""

from __future__ import annotations

import logging
import secrets
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from opticaldr.firmware_interface.errors import (
    BoardError,
    BoardLost,
    NoAnswer,
    VersionMismatch,
    WrongDevice,
    refusal,
)
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.link import Link, Port

ATTEMPTS = 9  # where one attempt in 15 fails (bit error rate 1e-4), nine in a row fail once in 4e10
GREETING_ATTEMPTS = 14  # 0.3 s each: a port that resets the board on opening needs a few seconds
RECONNECT = 5.0  # seconds a lost line may take to come back
KEEP = 0.05  # seconds between two looks at an idle line
_HOLD = 0.02  # seconds for which a thread that waits for events holds the line
_STAND_BACK = 1e-3  # seconds between two looks of such a thread whether the line is free again

_LOG = logging.getLogger(__name__)
_FLASH = "flash the firmware (steps in hardware/board/README.md)"


@dataclass(frozen=True)
class Event:
    """Something the board said unasked, or that happened to the line.

    ``kind`` is ``alive``, ``tamper``, ``interlock``, ``silence``, ``stage`` or ``pulse`` as in PROTOCOL.md,
    with the fields of its body as ``values``; or ``lost``, or ``back`` with 1 if the board restarted
    meanwhile. ``time`` is seconds on the port's clock.
    """

    kind: str
    time: float
    values: tuple[int, ...] = ()


class Greeting(NamedTuple):
    """The board's answer to HELLO, as it is on the wire."""

    protocol: int
    session: int
    sequence: int
    major: int
    minor: int
    patch: int
    unique_id: bytes
    capabilities: int
    reset_reason: int
    boot: int
    step_nm: int
    travel_steps: int
    shutter_ms: int
    patience_ms: int


class Session:
    """The line to one board, shared by all threads that use it.

    A command carries a sequence number and a retry repeats it, so the board tells a repeated question from a
    new command. While nobody asks, a keeper or whoever waits for events reads the line and sends signs of
    life; while somebody asks, he does. A line that was lost is opened again by the next command.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.greeting: Greeting | None = None
        self.patience = wire.PATIENCE_MS * 1e-3  # seconds of silence the board bears
        self.listeners: list[Callable[[Event], None]] = []
        self.retries = 0
        self._question = threading.Lock()  # held by who asks, from before the line is his until his answer
        self._lock = threading.RLock()  # held by who uses the line
        self._link: Link | None = None
        self._greeted = False
        self._end_keeping: Callable[[], None] | None = None
        self._decoder = wire.Decoder()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._heard: deque[bytes] = deque(maxlen=8)  # raw, to tell what else may be on the port
        self._events: deque[Event] = deque(maxlen=4096)
        self._untold: deque[Event] = deque()
        self._sequence = 0
        self._spoke = 0.0

    def open(self) -> None:
        """Open the line and greet the board; raises a BoardError and leaves nothing open then."""
        with self._lock:
            self._connect()
            self._end_keeping = self.port.every(KEEP, self._keep)

    def close(self) -> None:
        """Give the line back."""
        with self._lock:
            if self._end_keeping:
                self._end_keeping()
                self._end_keeping = None
            self._hang_up()

    def ask(self, command: wire.Message, *values: int) -> tuple[Any, ...]:
        """Have one command carried out and return the fields of its reply.

        Raises the BoardError that belongs to a refusal, NoAnswer after bounded retries, or BoardLost.
        """
        with self._question, self._lock:
            self._ensure_line()
            kind, answer = self._exchange(command, struct.pack(command.asks, *values), ATTEMPTS)
            reason = answer[1] if kind == wire.REFUSED else 0
            self._greeted = reason not in (wire.NO_SESSION, wire.STALE)
        self._tell()
        if reason:
            raise refusal(reason, command.name)
        return struct.unpack(command.answers, answer)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Events as they come; ends after ``timeout`` seconds without one. Keeps the last 4096 unread."""
        last = self.port.now()
        while True:
            if self._events:
                last = self.port.now()
                yield self._events.popleft()
            elif timeout is not None and self.port.now() - last >= timeout:
                return
            elif self._question.locked():
                # A lock goes to whoever is quickest: taken again at once, it would keep the asker out for
                # seconds. He hears the events meanwhile.
                self.port.wait(_STAND_BACK)
            else:
                with self._lock:
                    self._ensure_line()
                    self._listen(_HOLD)
                self._tell()

    # The line

    def _connect(self) -> None:
        self._link = self.port.open()
        try:
            self._greet()
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None
        self._greeted = False

    def _lose(self) -> None:
        self._hang_up()
        self._note(Event("lost", self.port.now()))

    def _ensure_line(self) -> None:
        if self._end_keeping is None:
            raise BoardLost(f"{self.port.name} is not open", "use the board inside its `with` block")
        if self._link is None:
            self._reconnect()
        elif not self._greeted:
            self._greet()

    def _reconnect(self) -> None:
        before = self.greeting
        until = self.port.now() + RECONNECT
        while True:
            try:
                self._connect()
                break
            except BoardError:
                if self.port.now() >= until:
                    raise
                self.port.wait(0.2)
        restarted = before is None or self.greeting is None or before.boot != self.greeting.boot
        self._note(Event("back", self.port.now(), (int(restarted),)))

    # Greeting

    def _greet(self) -> None:
        """Have a HELLO answered; clears what is left over in either direction and begins a new session."""
        self._decoder = wire.Decoder()
        self._heard.clear()
        number = secrets.randbits(32)
        hello = struct.pack(wire.HELLO.asks, wire.PROTOCOL, number)
        try:
            _, answer = self._exchange(wire.HELLO, hello, GREETING_ATTEMPTS)
        except NoAnswer:
            raise self._stranger() from None
        if answer[0] != wire.PROTOCOL:
            old = answer[0] < wire.PROTOCOL
            raise VersionMismatch(
                f"the board at {self.port.name} speaks protocol {answer[0]}, this program {wire.PROTOCOL}",
                _FLASH if old else "update this program",
            )
        greeting = Greeting(*struct.unpack(wire.HELLO.answers, answer))
        if greeting.session != number:
            raise NoAnswer(f"the board at {self.port.name} answered an old greeting", "try again")
        self.greeting = greeting
        self._sequence = greeting.sequence
        self.patience = greeting.patience_ms * 1e-3
        self._greeted = True
        self._await_blade(2 * greeting.shutter_ms * 1e-3)

    def _await_blade(self, longest: float) -> None:
        """Wait until the board has seen whether its shutter closed; the first command may need to know."""
        until = self.port.now() + longest
        while self.port.now() < until:
            kind, state = self._exchange(wire.STATE, b"", ATTEMPTS)
            if kind == wire.REFUSED or struct.unpack(wire.STATE.answers, state)[0] & wire.SETTLED:
                return
            self.port.wait(0.01)

    def _stranger(self) -> BoardError:
        """What to say about a port from which no greeting came."""
        name, noise = self.port.name, b"".join(self._heard)
        if not noise:
            return NoAnswer(f"nothing answers at {name}", f"check the cable; if the board is new, {_FLASH}")
        if b">>>" in noise or b"MicroPython" in noise:
            return WrongDevice(f"{name} is at a MicroPython prompt: the firmware does not run", _FLASH)
        if any(kind == wire.HELLO.kind for kind, _, _ in wire.Decoder().feed(noise)):
            return WrongDevice(f"{name} sends back what it is sent", "give the port of the board")
        return WrongDevice(
            f"what {name} sends ({noise[:12].hex(' ')} …) are no frames of this board",
            "give the port of the board; `opticaldr board find` lists them",
        )

    # Frames

    def _exchange(self, command: wire.Message, body: bytes, attempts: int) -> tuple[int, bytes]:
        """Ask until answered: (kind, body) of the reply or refusal."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        self._answers.clear()
        frame = wire.pack(command.kind, sequence, body)
        try:
            for attempt in range(attempts):
                self.retries += attempt > 0
                # The zero ends whatever noise may have begun at the other end.
                self._send(b"\0" + frame if attempt or command is wire.HELLO else frame)
                until = self.port.now() + command.deadline * 1e-3
                while (left := until - self.port.now()) > 0:
                    self._pump(left)
                    kind, answer = self._answers.get(sequence, (0, b""))
                    if kind in (command.kind | wire.REPLY, wire.REFUSED):
                        return kind, answer
        except OSError as error:
            self._lose()
            raise BoardLost(
                f"the board at {self.port.name} went away during '{command.name}' ({error})",
                "check cable and power; it makes the bench safe by itself. Then home the stage again",
            ) from None
        raise NoAnswer(
            f"the board at {self.port.name} did not answer '{command.name}' in {attempts} attempts",
            "check the cable, and unplug the board for a moment if that is of no help",
        )

    def _send(self, data: bytes) -> None:
        assert self._link is not None
        self._link.write(data)
        self._spoke = self.port.now()

    def _pump(self, timeout: float) -> None:
        """Read what comes within ``timeout``: replies go where they are waited for, events in the queue."""
        assert self._link is not None
        data = self._link.read(timeout)
        if not self._greeted and data:
            self._heard.append(data[:64])
        for kind, sequence, body in self._decoder.feed(data):
            event = wire.EVENTS.get(kind)
            if event is None:
                self._answers[sequence] = (kind, body)
            elif len(body) == struct.calcsize(event.answers):
                self._note(Event(event.name, self.port.now(), struct.unpack(event.answers, body)))

    def _listen(self, timeout: float) -> None:
        """Look after an idle line: read what comes within ``timeout``, and give a sign of life when due."""
        try:
            self._pump(timeout)
            if self.port.now() - self._spoke > self.patience / 4:
                self._send(wire.pack(wire.BEAT, 0))
        except OSError:
            self._lose()

    def _keep(self) -> None:
        """Listen, unless another thread has the line, who then looks after it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._question.locked() or self._link is None:
                return
            self._listen(0.0)
        finally:
            self._lock.release()
        self._tell()

    def _note(self, event: Event) -> None:
        self._events.append(event)
        self._untold.append(event)

    def _tell(self) -> None:
        """Call the listeners; never while the line is held, so that they may use the board themselves."""
        while self._untold:
            try:
                event = self._untold.popleft()
            except IndexError:  # another thread was quicker
                return
            for listener in tuple(self.listeners):
                try:
                    listener(event)
                except Exception:  # not the concern of whoever was asking, and the keeper must go on
                    _LOG.exception("a listener failed at %s", event)
