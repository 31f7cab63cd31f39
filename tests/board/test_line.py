"""Real lines: pseudo-terminals with the firmware behind them, sockets, loops, and what is no board."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import serial

from opticaldr.firmware_interface import Board, BoardError
from opticaldr.firmware_interface.errors import (
    BeyondLimits,
    BoardLost,
    NoAnswer,
    NoBoard,
    PortBusy,
    PortForbidden,
    VersionMismatch,
    WrongDevice,
    cannot_open,
)
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.link import Link, SerialPort
from opticaldr.firmware_interface.session import Event


def test_the_whole_bench_over_a_terminal(board_terminal) -> None:
    heard: list[Event] = []
    with Board(board_terminal.path) as board:
        board.on_event(heard.append)
        assert board.info().protocol == wire.PROTOCOL
        board.source(0.5)
        board.home()
        assert board.where() == 0.0
        assert board.move_to(0.01) == pytest.approx(0.01, abs=board.info().step)
        board.shutter(True)
        board.trigger(500e-6)
        board.trigger(500e-6, after_slm_frames=2)
        board.light(1.0, 0.0, 0.5)
        assert board.temperature() == pytest.approx(295, abs=2)
        state = board.state()
        assert state.shutter_open
        assert state.source == pytest.approx(0.5, abs=1e-3)
        assert state.pulses == 2
        with pytest.raises(BeyondLimits, match=r"0\.895"):
            board.move_to(1.0)
        assert board.retries == 0
    assert [e.kind for e in heard].count("pulse") == 2


def test_the_keeper_keeps_the_session_alive_while_nobody_asks(board_terminal) -> None:
    with Board(board_terminal.path) as board:
        board.watchdog(0.5)
        board.source(1.0)
        time.sleep(1.2)
        assert board.state().source == 1.0


def test_a_line_that_dies_is_a_clear_error(board_terminal) -> None:
    with pytest.raises(BoardLost, match="went away"), Board(board_terminal.path) as board:
        board.source(1.0)
        board_terminal.kill()
        for _ in range(100):
            board.state()


def test_unplugged_and_plugged_in_again(terminal, board_command, tmp_path) -> None:
    """The port's name stays, what is behind it goes away and comes back restarted."""
    port = tmp_path / "ttyBoard"
    first = terminal(board_command)
    port.symlink_to(first.path)
    with Board(str(port)) as board:
        board.source(1.0)
        first.kill()
        port.unlink()
        with pytest.raises(BoardLost, match="check cable and power"):
            board.state()
        plugged = threading.Timer(0.5, lambda: port.symlink_to(terminal(board_command).path))
        plugged.start()
        assert board.state().source == 0.0
        board.source(0.5)
        assert board.state().source == pytest.approx(0.5, abs=1e-3)
        assert [e.kind for e in board.events(timeout=0.1) if e.kind in ("lost", "back")] == ["lost", "back"]


def test_threads_share_a_board(board_terminal) -> None:
    """Six threads ask at once: everyone gets his own answer."""
    wrong: list[object] = []

    def ask(board: Board, level: int) -> None:
        for _ in range(20):
            try:
                board.light(level / 6, 0, 0)
                if not 290 < board.temperature() < 300 or board.info().serial != serial_number:
                    wrong.append(level)
            except BoardError as error:
                wrong.append(error)

    with Board(board_terminal.path) as board:
        serial_number = board.info().serial
        threads = [threading.Thread(target=ask, args=(board, level)) for level in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_thread_that_waits_for_events_does_not_keep_the_others_out(board_terminal) -> None:
    heard: list[Event] = []

    def listen(board: Board) -> None:
        for event in board.events(timeout=60):
            heard.append(event)
            if [e.kind for e in heard].count("pulse") == 20:
                return

    with Board(board_terminal.path) as board:
        listening = threading.Thread(target=listen, args=(board,))
        listening.start()
        for _ in range(20):
            board.trigger(1e-4)
        listening.join()
    assert [e.kind for e in heard].count("pulse") == 20


def test_who_waits_for_events_lets_go_of_the_line_for_who_asks(board_terminal) -> None:
    """The lock of a line goes to whoever is quickest, which a thread that just released it always is."""
    readers: list[str] = []
    reading, asked = threading.Event(), threading.Event()

    class Watched(SerialPort):
        def open(self) -> Link:
            link = super().open()
            read = link.read

            def watched(timeout: float) -> bytes:
                readers.append(threading.current_thread().name)
                if readers[-1] == "listener" and not reading.is_set():
                    reading.set()
                    asked.wait(60)
                return read(timeout)

            link.read = watched  # type: ignore[method-assign]
            return link

    with Board(Watched(board_terminal.path)) as board:
        board.watchdog(60.0)
        listener = threading.Thread(name="listener", target=lambda: list(board.events(timeout=0.1)))
        asker = threading.Thread(name="asker", target=board.state)
        listener.start()
        assert reading.wait(60)
        before = len(readers)
        asker.start()
        while not board._session._question.locked():  # until he waits for the line the listener holds
            time.sleep(1e-3)
        asked.set()
        asker.join()
        listener.join()
    assert readers[before] == "asker"


def test_a_port_opens_once(board_terminal) -> None:
    with (
        Board(board_terminal.path),
        pytest.raises(PortBusy, match="in use by another program"),
        Board(board_terminal.path),
    ):
        pass


@contextmanager
def talking(terminal, says: Callable[[bytes], bytes]) -> Iterator[str]:
    """Something else on the port: what it ``says`` to each read, until the block ends."""
    there = terminal(None)
    ended = threading.Event()
    os.set_blocking(there.master, False)

    def talk() -> None:
        while not ended.is_set():
            try:
                heard = os.read(there.master, 256)
            except BlockingIOError:
                heard = b""
            said = says(heard)
            if said:
                os.write(there.master, said)
            time.sleep(0.01)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield there.path
    finally:
        ended.set()
        thread.join()


@pytest.fixture(autouse=True)
def _short_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opticaldr.firmware_interface.session.GREETING_ATTEMPTS", 2)


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (lambda heard: b"", NoAnswer, "nothing answers"),
        (lambda heard: heard, WrongDevice, "sends back what it is sent"),
        (lambda heard: b"$GPGGA,092750.000,5321.6802,N\r\n", WrongDevice, "no frames of this board"),
        (lambda heard: b"\r\n>>> " if heard else b"", WrongDevice, "MicroPython prompt"),
        (lambda heard: os.urandom(64), WrongDevice, "no frames of this board"),
    ],
    ids=["silent", "echo", "gps", "prompt", "garbage"],
)
def test_what_is_no_board_is_named(terminal, says, error, words) -> None:
    with talking(terminal, says) as path, pytest.raises(error, match=words), Board(path):
        pass


def test_another_protocol_version_is_named(terminal) -> None:
    decoder = wire.Decoder()

    def newer(heard: bytes) -> bytes:
        return b"".join(wire.pack(kind | wire.REPLY, seq, b"\x09") for kind, seq, _ in decoder.feed(heard))

    with (
        talking(terminal, newer) as path,
        pytest.raises(VersionMismatch, match="speaks protocol 9, this program 1; update this program"),
        Board(path),
    ):
        pass


def test_a_board_that_boots_when_its_port_is_opened(terminal, monkeypatch) -> None:
    """Half a second of boot messages and deafness, then the real firmware's answers."""
    monkeypatch.setattr("opticaldr.firmware_interface.session.GREETING_ATTEMPTS", 14)
    from opticaldr.firmware_interface.firmware.application import Application
    from opticaldr.firmware_interface.firmware.hal_sim import Hal

    started = time.monotonic()
    application = Application(Hal())

    def boot(heard: bytes) -> bytes:
        if time.monotonic() - started < 0.5:
            return b"rp2 boot\r\n\x00\x13"
        application.receive(heard)
        application.poll()
        return application.take()

    with talking(terminal, boot) as path, Board(path) as board:
        assert board.temperature() == pytest.approx(295, abs=2)


def test_nothing_there() -> None:
    with pytest.raises(NoBoard, match="opticaldr board find"), Board("/dev/ttyNOWHERE"):
        pass
    with pytest.raises(NoBoard, match="pyserial URL"), Board("gopher://board"):
        pass
    with pytest.raises(NoBoard), Board("socket://127.0.0.1:9"):
        pass


def test_no_permission_names_the_group(tmp_path) -> None:
    port = tmp_path / "ttyACM0"
    port.touch()
    group = port.group()
    error = cannot_open(str(port), serial.SerialException(13, "could not open port: Permission denied"))
    assert isinstance(error, PortForbidden)
    assert f"usermod -aG {group} $USER" in error.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_forbidden_port(tmp_path) -> None:
    port = tmp_path / "ttyACM0"
    port.touch(mode=0)
    with pytest.raises(PortForbidden), Board(str(port)):
        pass


def test_a_loop_is_no_board() -> None:
    with pytest.raises(WrongDevice, match="sends back"), Board("loop://"):
        pass


def test_a_board_behind_a_socket() -> None:
    """A serial server: the same client over `socket://`."""
    from opticaldr.firmware_interface.firmware.application import Application
    from opticaldr.firmware_interface.firmware.hal_sim import Hal

    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        application = Application(Hal())
        connection.settimeout(0.002)
        while True:
            try:
                heard = connection.recv(256)
                if not heard:
                    return
                application.receive(heard)
            except TimeoutError:
                pass
            application.poll()
            connection.sendall(application.take())

    thread = threading.Thread(target=serve)
    thread.start()
    with Board(f"socket://127.0.0.1:{server.getsockname()[1]}") as board:
        board.shutter(True)
        assert board.state().shutter_open
    thread.join()
    server.close()
