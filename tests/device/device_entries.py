"""Entries of a log as voice makes them."""

from opticaldr.device.hearing import in_words, name_of
from opticaldr.device.records import Kind, Quality, Record

FLAGS = [name_of(flag) for flag in Quality]
BODY = in_words(
    Record(
        kind=Kind.ESTIMATE, session=bytes(16), sequence=1, moment=60, estimate=17.3, sigma=4.9, latency=0.05
    )
)


def entry_of(kind="estimate", **changes):
    """An entry as it is in a log; its hash and signature are made up."""
    body = BODY | changes
    if kind == "event":
        body = {name: value for name, value in body.items() if name not in ("estimate", "sigma", "latency")}
    return {
        "index": 7,
        "time": "2026-03-01T10:00:00.000Z",
        "kind": kind,
        "body": body,
        "previous": "0" * 64,
        "hash": "a" * 64,
        "signature": "b" * 128,
    }
