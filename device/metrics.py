"""Voice's state for Prometheus (text exposition format 0.0.4). Estimates themselves are not among it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: dict[str, Any]) -> str:
    """The metrics in a snapshot of `opticaldr.device.status.Status`."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: dict[str, Any]) -> Iterator[str]:
    counts, audit = status["counts"], status["audit"]
    held = sum(protection["holds"] for protection in status["protections"])
    yield from _one("estimates_total", "counter", "Estimates logged since the start.", counts["estimate"])
    yield from _one("events_total", "counter", "Events logged since the start.", counts["event"])
    yield from _one("bad_records_total", "counter", "Records refused since the start.", counts["bad record"])
    yield from _one("lost_total", "counter", "Entries that could not be logged.", status["lost"])
    yield from _one("shutter_open", "gauge", "1 while the camera looks.", int(status["shutter"] == "open"))
    doubt = int(status["in_doubt"])
    yield from _one("optics_in_doubt", "gauge", "1 while frames are dropped because of the optics.", doubt)
    yield from _one("protections_held", "gauge", "Protections that eye has proven.", held)
    yield from _one("audit_entries", "gauge", "Entries in the audit log.", audit["entries"])
    yield from _one("bits_per_hour", "gauge", "Most that eye can say in an hour.", status["bits"]["per_hour"])
    if status["interlock_margin"] is not None:
        margin = status["interlock_margin"]
        yield from _one("interlock_margin_ratio", "gauge", "Interlock statistic over its threshold.", margin)
    if status["calibration_age_days"] is not None:
        age = status["calibration_age_days"] * 86400
        yield from _one("calibration_age_seconds", "gauge", "Since the optics were measured.", age)
    for name, kind, text in (
        ("waiting", "gauge", "Entries that a sink has not taken yet."),
        ("delivered", "counter", "Entries taken since the start."),
        ("dead", "gauge", "Entries that a sink refuses for good."),
    ):
        metric = f"delivery_{name}" + ("_total" if kind == "counter" else "")
        yield from _head(metric, kind, text)
        for delivery in status["deliveries"]:
            yield f'opticaldr_{metric}{{sink="{delivery["name"]}"}} {delivery[name]}'
    yield from _head("delivery_up", "gauge", "1 while a sink takes what it gets.")
    for delivery in status["deliveries"]:
        yield f'opticaldr_delivery_up{{sink="{delivery["name"]}"}} {int(not delivery["trouble"])}'


def _one(name: str, kind: str, text: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, text)
    yield f"opticaldr_{name} {value}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP opticaldr_{name} {text}"
    yield f"# TYPE opticaldr_{name} {kind}"
