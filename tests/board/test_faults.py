"""Faults: bit errors, cuts, repeats, power loss at every byte, cables pulled, hosts that fall silent."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from opticaldr.firmware_interface import Board, BoardError, SimulatedBoard
from opticaldr.firmware_interface.errors import BoardLost, BoardWentSafe, NoAnswer, NoBoard, NotHomed
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.firmware.application import Application
from opticaldr.firmware_interface.firmware.hal_sim import Hal
from opticaldr.firmware_interface.link import Link, Port, SerialPort
from opticaldr.hardware.world import Stage, World


def flip(data: bytes, rate: float, rng: random.Random) -> bytes:
    """Each bit of ``data`` wrong with probability ``rate``."""
    bits = 8 * len(data)
    damaged = bytearray(data)
    at = int(rng.expovariate(rate)) if rate else bits
    while at < bits:
        damaged[at // 8] ^= 1 << at % 8
        at += 1 + int(rng.expovariate(rate))
    return bytes(damaged)


class Line:
    """A port whose line passes every byte through ``out`` (to the board) and ``back`` (to the host)."""

    def __init__(self, board: Port, out: Callable[[bytes], bytes], back: Callable[[bytes], bytes]) -> None:
        self.board, self.out, self.back = board, out, back
        self.name = board.name
        self.now, self.wait, self.every = board.now, board.wait, board.every

    def open(self) -> Link:
        self.link = self.board.open()
        return self

    def read(self, timeout: float) -> bytes:
        return self.back(self.link.read(timeout))

    def write(self, data: bytes) -> None:
        self.link.write(self.out(data))

    def close(self) -> None:
        self.link.close()


class Recorded(Application):
    """The firmware, keeping a list of what it carried out."""

    def __init__(self, hal: Hal) -> None:
        self.done: list[tuple[int, int, bytes]] = []
        super().__init__(hal)

    def execute(self, kind: int, body: bytes) -> bytes:
        self.done.append((self._sequence, kind, body))
        return super().execute(kind, body)


COMMANDS: dict[str, Callable[[Board], object]] = {
    "source": lambda board: board.source(1.0),
    "home": lambda board: board.home(),
    "move": lambda board: board.move_to(0.02),
    "stop": lambda board: board.stop(),
    "shutter": lambda board: board.shutter(True),
    "trigger": lambda board: board.trigger(2e-3),
    "slm trigger": lambda board: board.trigger(2e-3, after_slm_frames=3),
    "light": lambda board: board.light(1, 1, 1),
    "temperature": lambda board: board.temperature(),
    "watchdog": lambda board: board.watchdog(5.0),
    "state": lambda board: board.state(),
}


def assert_safe(world: World) -> None:
    world.advance(1.0)
    assert world.source_drive == 0.0
    assert world.shutter_transmission == 0.0
    assert not world.stage.moving


class FailingSupply:
    """Lets ``left`` more bytes through, in either direction together; then the board's supply is gone."""

    def __init__(self, simulated: SimulatedBoard) -> None:
        self.simulated = simulated
        self.left: int | None = None

    def __call__(self, data: bytes) -> bytes:
        if self.left is None:
            return data
        passed = data[: self.left]
        self.left -= len(passed)
        if len(passed) < len(data):
            world = self.simulated.world
            world.at(world.now, self.simulated.power_off)  # once the board has heard what passed
        return passed


@pytest.mark.parametrize("name", COMMANDS)
def test_power_loss_at_every_byte_of_every_command(name: str) -> None:
    """The supply goes after n bytes of question and answer, for every n until the command gets through.

    A command that takes long asks for the state many times; beyond the first few exchanges n grows faster.
    """
    survived, n = False, 0
    while not survived:
        world = World(stage=Stage(carriage=1e-3, motor=1e-3, target=1e-3))
        simulated = SimulatedBoard(world)
        supply = FailingSupply(simulated)
        try:
            with Board(Line(simulated, supply, supply)) as board:
                if name == "move":
                    board.home()
                board.source(1.0)
                board.shutter(True)
                supply.left = n
                COMMANDS[name](board)
                survived = True
                supply.left = None
        except BoardLost as error:
            assert "went away during" in str(error)  # noqa: PT017
            assert error.remedy  # noqa: PT017
        assert_safe(world)
        n = n + 1 if n < 80 else int(n * 1.4)
    assert n > 10


@pytest.mark.parametrize("moment", [0.01, 0.5, 2.0])
def test_power_loss_in_the_middle_of_a_motion(moment: float) -> None:
    world = World()
    simulated = SimulatedBoard(world)
    with pytest.raises(BoardLost, match="Then home the stage again"), Board(simulated) as board:
        board.home()
        board.source(1.0)
        world.at(world.now + moment, simulated.power_off)
        board.move_to(0.5)
    assert_safe(world)
    assert world.depth < 0.5


def test_after_a_power_loss_the_board_comes_back_unhomed() -> None:
    world = World()
    simulated = SimulatedBoard(world)
    with Board(simulated) as board:
        board.home()
        simulated.power_off()
        with pytest.raises(BoardLost):
            board.move_to(0.1)
        world.at(world.now + 1.0, simulated.power_on)
        with pytest.raises(NotHomed):
            board.move_to(0.1)
        assert [e.values for e in board.events(timeout=0.1) if e.kind in ("lost", "back")] == [(), (1,)]
        board.home()
        board.move_to(0.1)


@pytest.mark.proves("BOARD-1")
def test_a_pulled_cable_darkens_the_bench_and_put_back_the_next_command_works() -> None:
    world = World()
    simulated = SimulatedBoard(world)
    with Board(simulated) as board:
        board.source(1.0)
        board.shutter(True)
        simulated.unplug()
        with pytest.raises(BoardLost, match="check cable and power"):
            board.state()
        assert world.source_drive == 1.0
        world.advance(2.5)
        assert world.source_drive == 0.0
        assert world.shutter_transmission == 0.0
        simulated.plug()
        board.source(0.5)
        assert world.source_drive == pytest.approx(0.5, abs=1e-3)
        assert [e.values for e in board.events(timeout=0.1) if e.kind == "back"] == [(0,)]


def test_a_cable_that_stays_out_is_said_after_a_bounded_time() -> None:
    world = World()
    simulated = SimulatedBoard(world)
    with Board(simulated) as board:
        simulated.unplug()
        with pytest.raises(BoardLost):
            board.state()
        before = world.now
        with pytest.raises(NoBoard, match="unplugged"):
            board.state()
        assert 5.0 <= world.now - before < 6.0
        simulated.plug()


def test_a_host_that_froze_is_told_that_the_bench_went_safe(monkeypatch) -> None:
    world = World()
    with Board(SimulatedBoard(world)) as board:
        board.source(1.0)
        monkeypatch.setattr(board._session, "_link", None)  # the keeper finds nothing to keep alive
        world.advance(2.5)
        monkeypatch.undo()
        assert world.source_drive == 0.0
        with pytest.raises(BoardWentSafe, match="made the bench safe"):
            board.move_to(0.1)
        board.source(0.25)
        assert world.source_drive == pytest.approx(0.25, abs=1e-3)


def test_a_board_that_hangs_is_no_answer_after_bounded_retries() -> None:
    world = World()
    simulated = SimulatedBoard(world)
    deaf = [False]
    line = Line(simulated, lambda data: b"" if deaf[0] else data, lambda data: data)
    with Board(line) as board:
        deaf[0] = True
        before = world.now
        with pytest.raises(NoAnswer, match="in 9 attempts"):
            board.state()
        assert world.now - before == pytest.approx(9 * 0.15, rel=0.05)
        deaf[0] = False


@pytest.mark.proves("BOARD-2")
def test_a_lost_reply_does_not_act_twice() -> None:
    world = World()
    drop = [0]

    def back(data: bytes) -> bytes:
        if data and drop[0]:
            drop[0] -= 1
            return b""
        return data

    with Board(Line(SimulatedBoard(world), lambda data: data, back)) as board:
        for losses in range(6):
            drop[0] = losses
            board.trigger(1e-4)
        assert board.state().pulses == 6
        assert board.retries >= 5
    assert len(world.pulses) == 6


def calibration_script(board: Board, world: World, seconds: float) -> int:
    """What a calibration does to a board, for so long: positions, powers, exposures, looks around."""
    board.home()
    exposures = 0
    until = world.now + seconds
    while world.now < until:
        board.move_to((exposures * 0.0173) % 0.05)
        for power in (0.25, 0.5, 1.0):
            board.source(power)
            board.shutter(True)
            board.trigger(5e-3)
            board.trigger(2e-3, after_slm_frames=1)
            board.shutter(False)
            exposures += 2
        assert 290 < board.temperature() < 300
        board.light(0, exposures % 2, 0)
    return exposures


@pytest.mark.parametrize("seconds", [20.0, pytest.param(600.0, marks=pytest.mark.slow)])
def test_a_calibration_over_a_line_with_bit_errors(seconds: float) -> None:
    """Bit error rate 1e-4 both ways: every command gets through, and acts once."""
    world, rng = World(), random.Random(7)
    simulated = SimulatedBoard(world)
    damaged = [0]

    def noisy(data: bytes) -> bytes:
        wrong = flip(data, 1e-4, rng)
        damaged[0] += wrong != data
        return wrong

    with Board(Line(simulated, noisy, noisy)) as board:
        exposures = calibration_script(board, world, seconds)
        assert len(world.pulses) == exposures == board.state().pulses
        assert board.retries > 0
        print(
            f"{seconds:.0f} s: {exposures} exposures, {damaged[0]} damaged transfers, {board.retries} retries"
        )
    assert damaged[0] > seconds / 5


def test_bit_errors_on_a_real_line(board_terminal) -> None:
    """The firmware in a process of its own, three times the bit errors: the light is what was asked last."""
    rng = random.Random(3)

    def noisy(data: bytes) -> bytes:
        return flip(data, 3e-4, rng)

    with Board(Line(SerialPort(board_terminal.path), noisy, noisy)) as board:
        for number in range(40):
            board.source(number / 40)
            board.trigger(1e-4)
            assert board.state().source == pytest.approx(number / 40, abs=1e-3)
        assert board.state().pulses == 40
        assert board.retries > 0


def damage(stream: list[bytes], rng: random.Random) -> bytes:
    """The last frame of ``stream`` as a bad line delivers it: flipped, cut, repeated (also late), joined."""
    frame = stream[-1]
    fate = rng.random()
    if fate < 0.25:
        return flip(frame, 10 ** rng.uniform(-3, -1), rng)
    if fate < 0.35:
        return frame[: rng.randrange(len(frame))]
    if fate < 0.45:
        return frame[rng.randrange(len(frame)) :]
    if fate < 0.55:
        return frame * rng.randint(2, 4)
    if fate < 0.65:
        return frame + rng.choice(stream)
    if fate < 0.70:
        return frame[:-1] + rng.choice(stream)  # joined: the zero between them is gone
    if fate < 0.72:
        return frame + rng.randbytes(rng.randrange(100))
    return frame


@pytest.mark.proves("BOARD-2")
@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_fuzzed_commands_are_acted_on_at_most_once_and_only_if_sent(count: int) -> None:
    """Random flips, cuts, repeats and joins on the way in: the firmware neither falls over nor is fooled."""
    world, rng = World(), random.Random(2026)
    application = Recorded(Hal(world, seed=0))
    kinds = list(wire.COMMANDS)
    hello = b"\0" + wire.pack(wire.HELLO.kind, 0, struct.pack(wire.HELLO.asks, wire.PROTOCOL, 99))
    application.receive(hello)
    recent = [hello]
    sent: dict[int, tuple[int, bytes]] = {}
    host = wire.Decoder()
    answers = acted = last = 0
    for number in range(1, count + 1):
        kind = rng.choice(kinds)
        if kind == wire.HELLO.kind and rng.random() < 0.9:
            kind = wire.LIGHT.kind  # a new session about every hundred frames
        body = rng.randbytes(struct.calcsize(wire.COMMANDS[kind].asks))
        if kind == wire.HELLO.kind:
            body = bytes([wire.PROTOCOL]) + body[1:]
        sent[number] = (kind, body)
        recent = [*recent[-50:], wire.pack(kind, number & 0xFFFF, body)]
        application.receive(damage(recent, rng))
        if number % 10 == 0:
            world.advance(1e-3)
            application.poll()
        answers += len(host.feed(application.take()))
        for sequence, *done in application.done:
            which = number - (number - sequence) % 0x10000
            assert tuple(done) == sent.get(which), f"at frame {number}: {which} {done} was never sent"
            assert which > last, f"at frame {number}: {which} acted again after {last}"
            last = which
            acted += 1
        application.done.clear()
        sent.pop(number - 100, None)
        assert len(application._decoder._kept) <= wire.MAX_ENCODED
    print(f"{count} frames: {acted} acted on, {application._decoder.bad} dropped, {answers} frames came back")
    assert 0.5 * count < acted < count
    assert host.bad == 0


@pytest.mark.parametrize("count", [3_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_fuzzed_answers_never_fool_the_host(count: int) -> None:
    """Half of what the host hears is damaged: what it returns is the board's own value, or it gives up."""
    world, rng = World(temperature_swing=0.0), random.Random(5)
    recent = [b"\0"]

    def noisy(data: bytes) -> bytes:
        if not data:
            return data
        recent.append(data)
        del recent[:-50]
        return damage(recent, rng)

    with Board(Line(SimulatedBoard(world), lambda data: data, noisy)) as board:
        failures = 0
        for number in range(count):
            world.ambient_temperature = 250 + number % 1000 / 10
            try:
                assert board.temperature() == pytest.approx(world.ambient_temperature, abs=6e-4)
            except BoardError:
                failures += 1
        print(f"{count} answers: {board.retries} retries, {failures} given up")
    assert failures <= count * 1e-2
