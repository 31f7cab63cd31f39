"""A camera or board that was unplugged comes back; an interlock that closed stays so until somebody opens it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opticaldr.artefacts import load_key
from opticaldr.device.audit import AuditLog
from opticaldr.device.chain import latest, part_paths
from opticaldr.device.hearing import name_of
from opticaldr.device.notify import ALIVE, READY, notify
from opticaldr.device.orders import Orders
from opticaldr.device.records import Event
from opticaldr.device.voice import Session, listen
from opticaldr.errors import Refusal

COMES_BACK = (Event.CAMERA_SILENT, Event.BOARD_SILENT)
LATCHING = tuple(
    name_of(event)
    for event in Event
    if event not in (*COMES_BACK, Event.NONE, Event.OPTICS_IN_DOUBT, Event.FAILED)
)
"""Events after which only a deliberate act starts eye again: a restart of machine or service is none."""
REARMED = "rearmed"


def persevere(
    orders: Orders,
    log: AuditLog,
    *,
    about: Mapping[str, Any],
    seconds: float | None = None,
    wanted: Callable[[], bool] = lambda: True,
    on_entry: Callable[[Mapping[str, Any]], None] = lambda entry: None,
) -> Session:
    """`listen`, and again when camera or board fell silent or eye hung, waiting for them; returns the sessions as one.

    The arguments are those of `opticaldr.device.voice.listen`.
    """

    def alive() -> bool:
        notify(ALIVE)
        return wanted()

    def enter(entry: Mapping[str, Any]) -> None:
        if entry["kind"] == "hello":
            notify(READY)
        on_entry(entry)

    until = None if seconds is None else time.monotonic() + seconds
    session = listen(orders, log, about=about, seconds=seconds, wanted=alive, on_entry=enter)
    while _may_come_back(session) and wanted():
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            break
        again = orders.model_copy(update={"wait": True})
        found = listen(again, log, about=about, seconds=left, wanted=alive, on_entry=enter)
        session = found.after(session)
    return session


def _may_come_back(session: Session) -> bool:
    silent = session.event in COMES_BACK or session.exit_code == -signal.SIGALRM
    return silent and not session.stopped and not session.suspicion


def require_armed(log: Path) -> None:
    """Refuse to look again after the interlock closed, until `rearm`; a log that is not there yet is no obstacle."""
    for entry in latest(log, ("event", REARMED)):
        if entry["kind"] == REARMED:
            return
        if entry["body"]["event"] in LATCHING:
            raise Refusal(
                f"the interlock closed at {entry['time']}: {entry['body']['event']}",
                f"look at the camera, then: opticaldr rearm {log.parent}",
            )


def rearm(folder: Path) -> None:
    """Enter into a run's log that somebody has looked at the camera and lets it start again.

    Raises:
        Refusal: there is no log, the run is still going on, or its interlock did not close.
    """
    path = folder / "audit.ndjson"
    if not part_paths(path):
        raise Refusal(f"there is no audit log at {path}", "name the folder of a run")
    with AuditLog(path, load_key(folder / "device.key")) as log:
        try:
            require_armed(path)
        except Refusal:
            log.append(REARMED, {"by": "command"})
            return
    raise Refusal(f"the interlock of {folder} is not closed", "nothing needs to be done")
