"""Voice: hears eye through a pipe, believes nothing it cannot check, and is the one that speaks to the world.

It starts eye, refuses every record that eye in its right mind would not write, and signs and logs the others;
delivery follows the log. It never sees a frame. When voice ends, eye ends; when eye ends or misbehaves, voice says so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opticaldr.device.audit import AuditLog
from opticaldr.device.clock import WallClock
from opticaldr.device.confinement import EVERY, NONE, Protection
from opticaldr.device.hearing import Hearing, in_words, name_of
from opticaldr.device.orders import Orders
from opticaldr.device.records import SIZE, BadRecord, Event, Kind, Record
from opticaldr.device.stop import StopSign
from opticaldr.errors import Refusal

EYE = (sys.executable, "-m", "opticaldr.device.eye")
"""How eye is started; its orders follow."""
PATIENCE_WITH_BAD_RECORDS = 3
"""Records that break the rules after which eye is taken for subverted and stopped."""
MOST_ESTIMATES = 10_000
"""Estimates that are remembered until the end, a week of one a minute; a camera runs for years."""
TIME_TO_END = 5.0
"""Seconds that eye has to end by itself before it is killed."""
_LONGEST_WORDS = 4096
_TICK = 0.25  # seconds


class Suspicion(Exception):
    """Eye has broken the rules of the pipe too often."""


@dataclass
class Session:
    """What voice knows at the end.

    Attributes:
        records: how many were accepted.
        refused: how many were not.
        lost: entries that could not be logged because the disk was full.
        protections: what eye has proven.
        estimates: bodies of the latest estimates that were logged.
        estimated: how many were logged.
        event: the last event.
        farewell: eye's last record; None if it ended without.
        frames, dropped: what eye told in its farewell.
        exit_code: eye's; negative for a signal.
        suspicion: why eye was stopped, if it was.
        not_started: why eye could not start, if it could not.
        stopped: whether the whole run was told to end.
    """

    records: int = 0
    refused: int = 0
    lost: int = 0
    protections: Protection = NONE
    estimates: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_ESTIMATES))
    estimated: int = 0
    event: Event = Event.NONE
    farewell: Record | None = None
    frames: int = 0
    dropped: int = 0
    exit_code: int | None = None
    suspicion: str = ""
    not_started: str = ""
    stopped: bool = False

    def after(self, earlier: Session) -> Session:
        """Both as one: what can be counted is added up, the first suspicion stays, and for the rest the later counts.

        A session that ended before eye said anything changes nothing of that rest.
        """
        said = self if self.records else earlier
        return replace(
            said,
            records=earlier.records + self.records,
            refused=earlier.refused + self.refused,
            lost=earlier.lost + self.lost,
            estimates=deque([*earlier.estimates, *self.estimates], MOST_ESTIMATES),
            estimated=earlier.estimated + self.estimated,
            frames=earlier.frames + self.frames,
            dropped=earlier.dropped + self.dropped,
            suspicion=earlier.suspicion or self.suspicion,
            stopped=self.stopped,
        )


def listen(
    orders: Orders,
    log: AuditLog,
    *,
    about: Mapping[str, Any],
    seconds: float | None = None,
    wanted: Callable[[], bool] = lambda: True,
    on_entry: Callable[[Mapping[str, Any]], None] = lambda entry: None,
) -> Session:
    """Start eye, hear it out and log what it says, until it ends or is told to.

    Args:
        orders: for eye; ``pipe`` and ``session`` are filled in here.
        log: open audit log.
        about: what is entered about this run beside the orders: which bundle.
        seconds: stop after so long; None for no limit.
        wanted: whether to go on.
        on_entry: called with each entry that was logged.

    Raises:
        Refusal: eye could not start; nothing was estimated.
        RuntimeError: nor could it say why in a line: a bug.
    """
    session = Session()
    token = secrets.token_bytes(16)

    def enter(kind: str, body: Mapping[str, Any]) -> bool:
        try:
            entry = log.append(kind, body)
        except OSError as error:
            session.lost += 1
            sys.stderr.write(f"opticaldr: not logged, and so not delivered: {error.strerror}\n")
            return False
        on_entry(entry)
        return True

    enter("started", {**about, **_started(orders, token)})
    with StopSign((signal.SIGINT, signal.SIGTERM)) as sign, _eye(orders, token) as eye:
        hearing, clock = Hearing(token, orders.interval), WallClock()
        began: float | None = None

        def over() -> bool:
            late = seconds is not None and began is not None and time.monotonic() >= began + seconds
            return sign.seen or late or not wanted()

        try:
            for data in _records(eye, over):
                if data:
                    _hear(data, hearing, session, enter, development=orders.development)
                    began = began or time.monotonic()
                else:
                    hearing.silence(time.monotonic())
                jump = clock.jump()
                if jump:
                    enter("clock set", {"seconds": round(jump, 1)})
        except Suspicion as suspicion:
            enter("suspicion", {"why": str(suspicion)})
            session.suspicion = str(suspicion)
        session.exit_code, words = eye.end()
    session.stopped = sign.seen
    if orders.development and words:
        sys.stderr.write(f"{words}\n")
    if session.records == 0 and not session.suspicion and not sign.seen and wanted():
        enter("refused", {"exit_code": session.exit_code})
        if "Traceback" in words:
            raise RuntimeError(f"eye failed before its first record:\n{words}")
        raise Refusal(words or f"eye ended with exit code {session.exit_code} before its first record")
    enter("ended", _ended(session))
    return session


def _hear(
    data: bytes,
    hearing: Hearing,
    session: Session,
    enter: Callable[[str, Mapping[str, Any]], bool],
    *,
    development: bool,
) -> None:
    """Check one record and log it."""
    try:
        record = hearing.accept(data, time.monotonic())
    except BadRecord as fault:
        session.refused += 1
        enter("bad record", {"why": str(fault)})
        if session.refused >= PATIENCE_WITH_BAD_RECORDS:
            raise Suspicion(f"eye sent {session.refused} bad records, the last one: {fault}") from None
        return
    session.records += 1
    body = in_words(record)
    logged = enter(record.kind.name.lower(), body)
    if record.kind is Kind.HELLO:
        session.protections = Protection(record.protections)
        if session.protections != EVERY and not development:
            missing = ", ".join(name_of(p) for p in Protection if p not in session.protections)
            raise Suspicion(f"eye could not protect itself ({missing})")
    elif record.kind is Kind.ESTIMATE and logged:
        session.estimates.append(body)
        session.estimated += 1
    elif record.kind is Kind.EVENT:
        session.event = record.event
    elif record.kind is Kind.FAREWELL:
        session.farewell, session.frames, session.dropped = record, record.frames, record.dropped


def _started(orders: Orders, token: bytes) -> dict[str, Any]:
    return {
        "session": token.hex(),
        "signer": orders.key,
        "rig": orders.rig,
        "interval": orders.interval,
        "development": orders.development,
    }


def _ended(session: Session) -> dict[str, Any]:
    return {
        "eye_exit_code": session.exit_code,
        "eye_said_farewell": session.farewell is not None,
        "records": session.records,
        "refused": session.refused,
        "lost": session.lost,
    }


class _EyeProcess:
    """The running eye, the reading end of its pipe, and what it wrote to standard error before it locked
    itself in."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int) -> None:
        assert process.stderr is not None
        self.process, self.pipe, self.words_pipe = process, pipe, process.stderr.fileno()
        self._words = b""

    def listen_to_words(self) -> bool:
        """Take in what is there on standard error; False at its end."""
        data = os.read(self.words_pipe, _LONGEST_WORDS)
        self._words = (self._words + data)[-_LONGEST_WORDS:]
        return bool(data)

    def stop(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str]:
        """Wait for its end, or kill it; returns its exit code and what it wrote to standard error."""
        self.stop()
        try:
            code = self.process.wait(TIME_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        os.set_blocking(self.words_pipe, False)
        with contextlib.suppress(BlockingIOError):
            while self.listen_to_words():
                pass
        return code, self._words.decode(errors="replace").strip()


@contextlib.contextmanager
def _eye(orders: Orders, token: bytes) -> Iterator[_EyeProcess]:
    """Start eye with a pipe that keeps records apart (O_DIRECT: one read, one write; pipe(2))."""
    hearing, speaking = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, hearing)
        filled = orders.model_copy(update={"pipe": speaking, "session": token.hex()})
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            process = subprocess.Popen(
                [*EYE, filled.model_dump_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[speaking],
                process_group=0,  # Ctrl-C is voice's to hear
                env={**os.environ, **one_thread},
            )
        finally:
            os.close(speaking)
        stack.enter_context(process)
        stack.callback(process.kill)
        yield _EyeProcess(process, hearing)


def _records(eye: _EyeProcess, over: Callable[[], bool]) -> Iterator[bytes]:
    """What comes through the pipe, piece by piece, until eye closes it; an empty piece marks a time of
    silence.

    Once it is ``over``, eye is asked to end and has `TIME_TO_END` for its last words.
    """
    asked: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(eye.pipe, selectors.EVENT_READ)
        selector.register(eye.words_pipe, selectors.EVENT_READ)
        while asked is None or time.monotonic() < asked + TIME_TO_END:
            if asked is None and over():
                eye.stop()
                asked = time.monotonic()
            ready = {key.fd for key, _ in selector.select(timeout=_TICK)}
            if eye.words_pipe in ready and not eye.listen_to_words():
                selector.unregister(eye.words_pipe)
            if eye.pipe in ready:
                data = os.read(eye.pipe, 2 * SIZE)
                if not data:
                    return
                yield data
            elif not ready:
                yield b""
