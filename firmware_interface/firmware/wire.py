"""The protocol: how bytes become frames, and the one table of messages. See PROTOCOL.md.

A frame is ``kind u8 | sequence u16 | body | CRC-32``, little-endian, COBS-encoded and ended by 0x00. The same
file serves the board, the host client and the tests.
"""

import binascii
import struct

PROTOCOL = 1
MAX_BODY = 48
_OVERHEAD = 1 + 2 + 4  # kind, sequence, CRC
MAX_ENCODED = MAX_BODY + _OVERHEAD + 1  # COBS adds one byte to anything shorter than 254

PATIENCE_MS = 2000  # silence after which the board makes the bench safe, until WATCHDOG says otherwise
PATIENCE_RANGE_MS = (500, 60000)
ALIVE_MS = 1000  # period of the board's own sign of life
PULSE_RANGE_US = (2, 10000000)
FULL_SOURCE = 4095  # 12 bit


class Message:
    """One row of the table: a command with its reply, or an event.

    ``asks`` and ``answers`` are struct formats of the two bodies (an event has only ``answers``);
    ``deadline`` is how long the host waits for the reply before it asks again, milliseconds.
    """

    def __init__(self, kind: int, name: str, asks: str, answers: str, deadline: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.asks = asks
        self.answers = answers
        self.deadline = deadline


_STATE = "<HiBHIIII"

HELLO = Message(0x01, "hello", "<BI", "<BIH3B8sHBIIIHH", 300)
STATE = Message(0x02, "state", "<", _STATE, 150)
SOURCE = Message(0x03, "source", "<H", "<", 150)
HOME = Message(0x04, "home", "<", "<", 150)
MOVE = Message(0x05, "move", "<i", "<", 150)
STOP = Message(0x06, "stop", "<", "<", 150)
SHUTTER = Message(0x07, "shutter", "<B", "<", 150)
TRIGGER = Message(0x08, "trigger", "<IH", "<I", 150)
LIGHT = Message(0x09, "light", "<3B", "<", 150)
TEMPERATURE = Message(0x0A, "temperature", "<", "<I", 150)
WATCHDOG = Message(0x0B, "watchdog", "<H", "<", 150)
COMMANDS = {
    m.kind: m
    for m in (HELLO, STATE, SOURCE, HOME, MOVE, STOP, SHUTTER, TRIGGER, LIGHT, TEMPERATURE, WATCHDOG)
}

BEAT = 0x3F  # host to board, never answered: only a sign of life
REPLY = 0x40  # added to a command's kind
REFUSED = 0x7F  # body: kind of the command, reason
REFUSED_BODY = "<BB"

ALIVE = Message(0x80, "alive", "", _STATE)
TAMPER = Message(0x81, "tamper", "", "<B")  # 1 cover open
INTERLOCK = Message(0x82, "interlock", "", "<B")  # 1 shutter obeys, 0 it does not
SILENCE = Message(0x83, "silence", "", "<I")  # milliseconds since the host was last heard
STAGE = Message(0x84, "stage", "", "<iB")  # position, outcome
PULSE = Message(0x85, "pulse", "", "<I")  # pulses sent since boot
EVENTS = {m.kind: m for m in (ALIVE, TAMPER, INTERLOCK, SILENCE, STAGE, PULSE)}

# Reasons of a refusal
UNKNOWN, LENGTH, RANGE, NOT_HOMED, BUSY, NO_INTERLOCK, COVER_OPEN, NO_PART, STALE, NO_SESSION = range(1, 11)

# How the last motion ended
NEVER, ARRIVED, HOMED, STOPPED, HIT_SWITCH, NO_SWITCH = range(6)

# Bits of the state's flags
COVER = 1  # the cover is open
OPEN = 2  # the shutter is asked to be open
SETTLED = 4  # the blade has had time to arrive
INTERLOCKED = 8  # the blade was last seen where it was asked to be
IS_HOMED = 16
MOVING = 32
LOW = 64
HIGH = 128
ARMED = 256  # a pulse waits for its SLM frames, or is going out

CAPABILITIES = ("source", "stage", "shutter", "trigger", "light", "temperature", "tamper", "slm")
RESET_REASONS = ("unknown", "power-on", "reset-pin", "watchdog", "software")


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing (Cheshire & Baker 1999): the same data without any zero byte."""
    out = bytearray()
    block = bytearray()
    full = False  # the last block has all its 254 bytes, so that no zero is implied after it
    for byte in data:
        full = False
        if byte:
            block.append(byte)
            if len(block) < 254:
                continue
            full = True
        out.append(len(block) + 1)
        out.extend(block)
        block = bytearray()
    if not full:
        out.append(len(block) + 1)
        out.extend(block)
    return bytes(out)


def cobs_decode(data: bytes) -> "bytes | None":
    """The inverse of :func:`cobs_encode`; None for what no encoder writes."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        end = at + code
        if code == 0 or end > len(data):
            return None
        out.extend(data[at + 1 : end])
        at = end
        if code < 255 and at < len(data):
            out.append(0)
    return bytes(out) if data else None


def pack(kind: int, sequence: int, body: bytes = b"") -> bytes:
    """The bytes on the line of one frame, with the 0x00 that ends it."""
    if len(body) > MAX_BODY:
        raise ValueError(f"body of {len(body)} bytes, {MAX_BODY} at most")
    plain = struct.pack("<BH", kind, sequence) + body
    return cobs_encode(plain + struct.pack("<I", binascii.crc32(plain))) + b"\0"


def unpack(encoded: bytes) -> "tuple[int, int, bytes] | None":
    """(kind, sequence, body) of one encoded frame without its 0x00; None where it was damaged."""
    plain = cobs_decode(encoded)
    if plain is None or not _OVERHEAD <= len(plain) <= _OVERHEAD + MAX_BODY:
        return None
    if struct.unpack("<I", plain[-4:])[0] != binascii.crc32(plain[:-4]):
        return None
    kind, sequence = struct.unpack("<BH", plain[:3])
    return kind, sequence, plain[3:-4]


def ahead(sequence: int, of: int) -> int:
    """How far ``sequence`` is ahead of ``of`` on the circle of 65 536 (RFC 1982): -32768 … 32767."""
    return (sequence - of + 0x8000) % 0x10000 - 0x8000


class Decoder:
    """Cuts a stream of bytes at its zeros and keeps the frames that arrived whole.

    Memory is bounded: what outgrows the longest frame is dropped up to the next zero. ``bad`` counts what was
    dropped.
    """

    def __init__(self) -> None:
        self.bad = 0
        self._kept = bytearray()
        self._overrun = False

    def feed(self, data: bytes) -> "list[tuple[int, int, bytes]]":
        """The whole frames that ``data`` completes, in order."""
        frames = []
        start = 0
        end = data.find(b"\0")
        while end >= 0:
            self._keep(data[start:end])
            if self._kept or self._overrun:
                frame = None if self._overrun else unpack(bytes(self._kept))
                if frame is None:
                    self.bad += 1
                else:
                    frames.append(frame)
                self._kept = bytearray()
                self._overrun = False
            start = end + 1
            end = data.find(b"\0", start)
        self._keep(data[start:])
        return frames

    def _keep(self, part: bytes) -> None:
        if len(self._kept) + len(part) > MAX_ENCODED:
            self._overrun = True
        else:
            self._kept.extend(part)
