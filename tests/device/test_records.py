"""Nothing passes as a record that eye, in its right mind, would not write."""

import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opticaldr.device.budget import (
    BITS_PER_ESTIMATE,
    BURST,
    FACE_IMAGE_BITS,
    MOMENT_SLACK,
    RateLimit,
    bits_per_hour,
)
from opticaldr.device.hearing import Hearing, in_words
from opticaldr.device.records import MAX_LATENCY, SIZE, BadRecord, Event, Kind, Quality, Record

SESSION = bytes(range(16))
tenths = st.integers(0, 630).map(lambda n: n / 10)


def estimate(**fields):
    return Record(
        **{"kind": Kind.ESTIMATE, "session": SESSION, "sequence": 1, "estimate": 12.3, "sigma": 4.5} | fields
    )


def sealed(body: bytes) -> bytes:
    """Bytes closed by the right checksum, as an attacker inside eye would."""
    return body + zlib.crc32(body).to_bytes(4, "little")


@given(
    tenths,
    st.integers(1, 255).map(lambda n: n / 10),
    st.integers(0, 2 ** len(Quality) - 1).map(Quality),
    st.integers(0, 65535).map(lambda n: n / 1e4),
    st.integers(0, 1000),
    st.integers(0, 2**32 - 1),
)
def test_a_record_comes_back_as_it_went(value, sigma, quality, latency, margin, sequence):
    record = estimate(
        estimate=value, sigma=sigma, quality=quality, latency=latency, margin=margin, sequence=sequence
    )
    packed = record.pack()
    assert len(packed) == SIZE <= 512
    assert Record.unpack(packed) == record


def test_every_changed_bit_is_noticed():
    packed = estimate().pack()
    for bit in range(8 * SIZE):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadRecord):
            Record.unpack(bytes(changed))


@pytest.mark.proves("EYE-3")
@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE + 1, 512, 4096])
def test_only_one_length_is_a_record(length):
    with pytest.raises(BadRecord, match="bytes instead of"):
        Record.unpack(bytes(length))


@given(st.data())
def test_a_hostile_writer_gains_nothing_by_a_right_checksum(data):
    body = bytearray(estimate().pack()[:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    packed = sealed(bytes(body))
    try:
        record = Record.unpack(packed)
    except BadRecord:
        return
    assert record.pack() == packed  # what is accepted means exactly these bytes: nothing hides between fields


@pytest.mark.proves("VOICE-4")
@pytest.mark.slow
def test_a_million_hostile_records_are_refused_or_understood():
    import numpy as np

    rng = np.random.default_rng(0)
    honest = np.frombuffer(estimate().pack()[:-4], np.uint8)
    accepted = 0
    for _ in range(1000):
        batch = np.repeat(honest[None], 1000, axis=0)
        places = rng.integers(0, batch.shape[1], (1000, 3))
        batch[np.arange(1000)[:, None], places] = rng.integers(0, 256, (1000, 3))
        for row in batch:
            packed = sealed(row.tobytes())
            try:
                record = Record.unpack(packed)
            except BadRecord:
                continue
            accepted += 1
            assert record.pack() == packed
    assert 0 < accepted < 500_000


@pytest.mark.parametrize(
    "fields",
    [
        {"estimate": 63.1},
        {"estimate": -0.1},
        {"estimate": math.nan},
        {"sigma": 0.0},
        {"sigma": 25.6},
        {"margin": 1001},
        {"latency": MAX_LATENCY + 1e-3},
        {"estimate": None},
        {"sigma": None},
        {"frames": 1},
        {"event": Event.FAILED},
        {"protections": 1},
        {"session": bytes(15)},
        {"note": "smuggled"},
    ],
)
def test_what_an_estimate_may_not_say(fields):
    with pytest.raises(ValidationError):
        estimate(**fields)


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.EVENT, Kind.FAREWELL])
def test_only_an_estimate_estimates(kind):
    with pytest.raises(ValidationError):
        estimate(kind=kind, event=Event.FAILED if kind is Kind.EVENT else Event.NONE)


@pytest.mark.proves("EYE-3")
def test_the_rate_is_a_burst_and_then_one_an_interval():
    limit = RateLimit(60.0)
    allowed = [second for second in range(3600) if limit.allow(float(second))]
    assert allowed[:BURST] == list(range(BURST))
    assert len(allowed) <= BURST + 3600 / 60
    assert min(b - a for a, b in zip(allowed[BURST:], allowed[BURST + 1 :], strict=False)) >= 60


def test_a_clock_that_jumps_back_earns_no_tokens():
    limit = RateLimit(10.0)
    for _ in range(BURST):
        assert limit.allow(1000.0)
    assert not limit.allow(0.0)
    assert not limit.allow(9.0)


@pytest.mark.proves("EYE-3")
def test_the_bit_budget_is_far_below_a_face_image():
    # Worst case of one estimate: every field takes every value it may.
    values = 631 * 255 * 2**7 * 1001 * 2**16 * 4 * 5
    assert math.log2(values) == pytest.approx(BITS_PER_ESTIMATE)
    assert bits_per_hour(60.0) < FACE_IMAGE_BITS / 50
    assert bits_per_hour(30.0) > bits_per_hour(60.0)


def fuzzed(rng):
    """Bytes as a subverted eye might write them: noise, or a good record with bits flipped and its checksum
    mended, so that every field is reached."""
    if rng.random() < 0.1:
        return rng.bytes(int(rng.integers(0, 3 * SIZE)))
    kind = Kind(int(rng.integers(1, 5)))
    estimating = {"estimate": 12.0, "sigma": 3.0} if kind is Kind.ESTIMATE else {}
    happening = {"event": Event.OPTICS_IN_DOUBT} if kind is Kind.EVENT else {}
    sequence = int(rng.integers(0, 3))
    data = bytearray(
        Record(kind=kind, session=bytes(16), sequence=sequence, **estimating, **happening).pack()
    )
    for place in rng.integers(0, SIZE - 4, int(rng.integers(0, 4))):
        data[place] ^= 1 << int(rng.integers(8))
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "count", [20_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_whatever_is_in_the_pipe_is_a_good_record_or_a_bad_one(count):
    rng = np.random.default_rng(3)
    ears = Hearing(bytes(16), 10.0)
    accepted = refused = 0
    for number in range(count):
        if number % 50 == 0:
            ears = Hearing(bytes(16), 10.0)
            ears.accept(Record(kind=Kind.HELLO, session=bytes(16), sequence=0).pack(), 100.0)
        data = fuzzed(rng)
        try:
            record = ears.accept(data, 100.0)
        except BadRecord:
            refused += 1
            continue
        accepted += 1
        assert record.pack() == data
        assert record.moment <= MOMENT_SLACK
        json.dumps(in_words(record))
    assert accepted > count / 500
    assert refused > count / 2
