"""From the audit log to the clinic's systems: at least once, in order, each entry under a key that makes
repeats harmless.

The log is the spool: it is on the disk before anything is sent, and a sink only remembers how far it has got
(`Cursor`). What a sink has not acknowledged is sent again, after a restart too; what it refuses for good is
set aside, and `rewind` brings it back.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from opticaldr.device.audit import AuditLog
from opticaldr.device.chain import Entry, between, parts
from opticaldr.errors import Refusal

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
KINDS = frozenset({"estimate", "event"})
"""Kinds of entries that are delivered."""
_KEEP_EVERY = 100  # entries after which the cursor is written within a long backlog
_LONGEST_REASON = 300  # characters
_TICK, _LAST_WORDS = 0.25, 10.0  # seconds


class Undeliverable(Exception):
    """The sink refuses this entry for good; sending it again would not help."""


class Sink(Protocol):
    """Somewhere estimates go. A sink must take the same entry twice as if it came once (its ``hash`` is its
    key)."""

    @property
    def name(self) -> str:
        """Names its cursor; letters, digits, hyphens."""
        ...

    def deliver(self, entry: Entry) -> None:
        """Hand over one entry; returning means it is safe there.

        Raises:
            Undeliverable: it never will be taken.
            OSError: not now; try again later.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass
class Cursor:
    """How far a sink has got, kept in a small file that is replaced as a whole.

    Attributes:
        path: the file.
        acknowledged: bytes of the log that need not be looked at again.
        dead: entries set aside, by index, and why.
    """

    path: Path
    acknowledged: int = 0
    dead: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Cursor:
        """The cursor at ``path``; at the beginning if there is none or it cannot be read (delivery is
        idempotent)."""
        try:
            stored: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, int(stored["acknowledged"]), dict(stored["dead"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    @classmethod
    def of(cls, sink: str, folder: Path) -> Cursor:
        """The cursor of the sink of that name, in the folder of a run."""
        return cls.read(folder / f"{sink}.cursor.json")

    def write(self) -> None:
        """Put it on the disk, whole or not at all."""
        draft = self.path.with_name(f".{self.path.name}.draft")
        with draft.open("w", encoding="utf-8") as stream:
            json.dump({"acknowledged": self.acknowledged, "dead": self.dead}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self.path)


class Delivery:
    """Brings what is in a log to one sink. One thread may log while another pumps.

    Args:
        log: the open audit log.
        sink: where its entries go.
        folder: where the cursor is kept.
        kinds: kinds of entries that are delivered.
        clock: monotonic seconds.
        jitter: gives numbers from 0 to 1 that keep many cameras from coming back in step.

    Attributes:
        name: of the sink.
        cursor: how far it has got.
        delivered: entries that the sink has taken since the start.
        trouble: why it does not get on; empty if it does.
        place_trouble: why its place cannot be kept; empty if it can.
    """

    def __init__(
        self,
        log: AuditLog,
        sink: Sink,
        folder: Path,
        *,
        kinds: frozenset[str] = KINDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._log, self._sink, self._kinds, self._clock, self._jitter = log, sink, kinds, clock, jitter
        self.name = sink.name
        self.cursor = Cursor.of(sink.name, folder)
        self.delivered = 0
        self.trouble = ""
        self.place_trouble = ""
        self._why_dead = next(reversed(self.cursor.dead.values()), "")
        self._settled = self._settle()
        self._pause = FIRST_PAUSE
        self._not_before = clock()

    @property
    def waiting(self) -> int:
        """Entries that are in the log and neither taken nor set aside."""
        return sum(self._log.kinds[kind] for kind in self._kinds) - self._settled

    def progress(self) -> dict[str, Any]:
        """How far it has got, for people and for JSON; ``why_dead`` is why the latest was set aside."""
        return {
            "name": self.name,
            "waiting": self.waiting,
            "delivered": self.delivered,
            "dead": len(self.cursor.dead),
            "why_dead": self._why_dead,
            "trouble": self.trouble or self.place_trouble,
        }

    def pump(self, *, patient: bool = True) -> int:
        """Send what is outstanding, until done or the sink is away; returns how many entries were taken.

        After a failure it does nothing for a pause that doubles from 1 s to 5 min, of which up to half is
        left to chance; unless it is not ``patient``, because this is the last chance.
        """
        if self.cursor.acknowledged >= self._log.size or (patient and self._clock() < self._not_before):
            return 0
        before, taken_before = self.cursor.acknowledged, self.delivered
        try:
            self._send_outstanding()
            if self.trouble:
                sys.stderr.write(f"opticaldr: {self.name}: takes entries again\n")
            self._pause, self.trouble = FIRST_PAUSE, ""
        except (
            Exception
        ) as failure:  # a sink's own fault must not end voice or hold up the other sinks either
            self._wait_after(failure)
        if self.cursor.acknowledged != before:
            self._keep_place()
        return self.delivered - taken_before

    def close(self) -> None:
        """Let go of the sink's connections."""
        self._sink.close()

    def _send_outstanding(self) -> None:
        for number, (entry, end) in enumerate(
            between(self._log.path, self.cursor.acknowledged, self._log.size)
        ):
            if entry["kind"] in self._kinds:
                try:
                    self._sink.deliver(entry)
                    self.delivered += 1
                except Undeliverable as refusal:
                    self._set_aside(entry, str(refusal)[:_LONGEST_REASON])
                self._settled += 1
            self.cursor.acknowledged = end
            if number % _KEEP_EVERY == _KEEP_EVERY - 1:
                self._keep_place()

    def _set_aside(self, entry: Entry, why: str) -> None:
        if why not in self.cursor.dead.values():
            sys.stderr.write(f"opticaldr: {self.name}: refuses entry {entry['index']} for good: {why}\n")
        index = str(entry["index"])
        self.cursor.dead.pop(index, None)  # so that the latest is the last, in the cursor's file too
        self.cursor.dead[index] = self._why_dead = why

    def _wait_after(self, failure: Exception) -> None:
        trouble = (str(failure) or type(failure).__name__)[:_LONGEST_REASON]
        if trouble != self.trouble:
            sys.stderr.write(f"opticaldr: {self.name}: {trouble}; it will be tried again\n")
        self.trouble = trouble
        self._not_before = self._clock() + self._pause * (1 - self._jitter() / 2)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _keep_place(self) -> None:
        try:
            self.cursor.write()
            self.place_trouble = ""
        except OSError as failure:
            trouble = f"its place cannot be kept: {failure.strerror}"
            if trouble != self.place_trouble:
                sys.stderr.write(f"opticaldr: {self.name}: {trouble}; after a restart, some come again\n")
            self.place_trouble = trouble

    def _settle(self) -> int:
        """Entries before the cursor's place; the cursor goes to the beginning if that is not the end of an
        entry of this log."""
        part = parts(self._log.path, self.cursor.acknowledged)[0]
        count = sum(part.kinds[kind] for kind in self._kinds)
        if self.cursor.acknowledged == part.start:
            return count
        for entry, end in between(self._log.path, part.start, self._log.size):
            if end > self.cursor.acknowledged:
                break
            count += entry["kind"] in self._kinds
            if end == self.cursor.acknowledged:
                return count
        self.cursor.acknowledged = 0
        return 0


class Couriers:
    """Pump each delivery in a thread of its own for the length of a ``with`` block, so that a slow sink holds
    up nobody; at the end they have ten seconds together for what is left."""

    def __init__(self, deliveries: Iterable[Delivery]) -> None:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._work, args=(delivery,), name=f"deliver to {delivery.name}", daemon=True
            )
            for delivery in deliveries
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        until = time.monotonic() + _LAST_WORDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, delivery: Delivery) -> None:
        while not self._over.wait(_TICK):
            delivery.pump()
        delivery.pump(patient=False)
        delivery.close()


def rewind(log: AuditLog, sink: str, folder: Path, *, index: int | None = None) -> int:
    """Have entries delivered again at the next run; returns how many.

    Args:
        log: the open audit log: nobody else can be writing to it.
        sink: name of the sink whose cursor goes back.
        folder: of the run.
        index: first entry to send again; by default the first that was set aside.

    Raises:
        Refusal: nothing was ever delivered to that sink, or nothing was set aside.
    """
    cursor = Cursor.of(sink, folder)
    if not cursor.path.exists():
        known = ", ".join(
            sorted(path.name.removesuffix(".cursor.json") for path in folder.glob("*.cursor.json"))
        )
        raise Refusal(f"{folder} has no sink {sink}", f"choose one of: {known}" if known else "name a run")
    if index is None:
        if not cursor.dead:
            raise Refusal(f"{sink} has refused nothing", "give --since INDEX to send entries again anyway")
        index = min(map(int, cursor.dead))
    place = count = 0
    for entry, end in between(log.path, 0, cursor.acknowledged):
        if entry["index"] >= index:
            count += entry["kind"] in KINDS
        else:
            place = end
    cursor.acknowledged = place
    cursor.dead = {at: why for at, why in cursor.dead.items() if int(at) < index}
    cursor.write()
    return count
