"""Framing: against an independent COBS, round trips, damage, and the specification that people read."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

import opticaldr.firmware_interface
from opticaldr.firmware_interface.firmware import wire

bodies = st.binary(max_size=wire.MAX_BODY)
frames = st.tuples(st.integers(0, 255), st.integers(0, 65535), bodies)


@given(st.binary(max_size=1200) | st.lists(st.sampled_from([0, 1, 255]), max_size=600).map(bytes))
def test_cobs_agrees_with_an_independent_implementation(data: bytes) -> None:
    encoded = wire.cobs_encode(data)
    assert encoded == cobs.encode(data)
    assert 0 not in encoded
    assert wire.cobs_decode(encoded) == data


@given(st.binary(max_size=80))
def test_decoding_anything_agrees_with_the_independent_implementation(data: bytes) -> None:
    """Also for bytes no encoder wrote, except those with zeros, which the decoder never sees."""
    data = data.replace(b"\0", b"")
    try:
        expected = cobs.decode(data) if data else None
    except cobs.DecodeError:
        expected = None
    assert wire.cobs_decode(data) == expected


@given(frames)
def test_a_frame_survives_the_line(frame: tuple[int, int, bytes]) -> None:
    packed = wire.pack(*frame)
    assert packed.endswith(b"\0")
    assert packed.count(0) == 1
    assert len(packed) <= wire.MAX_ENCODED + 1
    assert wire.Decoder().feed(packed) == [frame]


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 9), min_size=1))
def test_however_the_stream_is_cut(sent: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(wire.pack(*frame) for frame in sent)
    decoder, got = wire.Decoder(), []
    while stream:
        size = cuts[len(stream) % len(cuts)]
        got += decoder.feed(stream[:size])
        stream = stream[size:]
    assert got == sent
    assert decoder.bad == 0


@given(frames, st.data())
def test_up_to_four_flipped_bits_never_pass(frame: tuple[int, int, bytes], data: st.DataObject) -> None:
    """In the frame before stuffing: the CRC's Hamming distance at this length is five (Koopman 2002)."""
    plain = bytearray(cobs.decode(wire.pack(*frame)[:-1]))
    flips = data.draw(st.sets(st.integers(0, 8 * len(plain) - 1), min_size=1, max_size=4))
    for bit in flips:
        plain[bit // 8] ^= 1 << bit % 8
    assert wire.unpack(cobs.encode(bytes(plain))) is None


@given(st.binary(max_size=300), frames)
def test_after_any_noise_one_zero_restores_order(noise: bytes, frame: tuple[int, int, bytes]) -> None:
    decoder = wire.Decoder()
    decoder.feed(noise)
    assert decoder.feed(b"\0" + wire.pack(*frame))[-1] == frame


def test_memory_is_bounded_and_an_oversize_frame_is_dropped_whole() -> None:
    decoder = wire.Decoder()
    for _ in range(1000):
        assert decoder.feed(b"\x01" * 1000) == []
    assert len(decoder._kept) <= wire.MAX_ENCODED
    assert decoder.feed(b"\0" + wire.pack(2, 7)) == [(2, 7, b"")]
    assert decoder.bad == 1
    with pytest.raises(ValueError, match="48 at most"):
        wire.pack(2, 0, bytes(49))


@given(st.integers(0, 65535), st.integers(-32768, 32767))
def test_sequence_numbers_live_on_a_circle(last: int, distance: int) -> None:
    assert wire.ahead((last + distance) & 0xFFFF, last) == distance


def test_the_specification_is_the_table_that_runs() -> None:
    text = (Path(opticaldr.firmware_interface.__file__).parent / "PROTOCOL.md").read_text()
    rows = re.findall(r"^\| 0x(\w\w) \| (\w+) \| `(\S+)` \|(?: `(\S+)` \| (\d+) \|)?", text, re.M)
    written = {
        int(kind, 16): (name, *((first, second, int(deadline)) if second else ("", first, 0)))
        for kind, name, first, second, deadline in rows
    }
    running = {
        kind: (m.name, m.asks, m.answers, m.deadline) for kind, m in (wire.COMMANDS | wire.EVENTS).items()
    }
    assert written == running
    assert re.search(rf"body 0 … {wire.MAX_BODY} bytes", text)
    assert f"longer than {wire.MAX_ENCODED + 1} bytes" in text
    assert all(struct.calcsize(fmt) <= wire.MAX_BODY for m in running.values() for fmt in m[1:3] if fmt)
    reasons = dict(re.findall(r"^\| (\d+) \| ([a-z ]+) \|", text, re.M))
    names = [
        "UNKNOWN",
        "LENGTH",
        "RANGE",
        "NOT_HOMED",
        "BUSY",
        "NO_INTERLOCK",
        "COVER_OPEN",
        "NO_PART",
        "STALE",
        "NO_SESSION",
    ]
    assert reasons == {str(getattr(wire, name)): name.lower().replace("_", " ") for name in names}
