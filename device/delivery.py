"""From the audit log to the clinic's systems: at least once, in order, each entry under a key that makes
repeats harmless.

The log is the spool: it is on the disk before anything is sent, and a sink only remembers how far it has got
(`Cursor`). What a sink has not acknowledged is sent again, after a restart too; what it refuses for good is
set aside.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from opticaldr.device.audit import Entry

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0


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

    def write(self) -> None:
        """Put it on the disk, whole or not at all."""
        draft = self.path.with_name(f".{self.path.name}.draft")
        with draft.open("w", encoding="utf-8") as stream:
            json.dump({"acknowledged": self.acknowledged, "dead": self.dead}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self.path)


class Delivery:
    """Brings what is in a log to one sink.

    Args:
        log: the audit log.
        sink: where its entries of the wanted kinds go.
        folder: where the cursor is kept.
        kinds: kinds of entries that are delivered.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        log: Path,
        sink: Sink,
        folder: Path,
        *,
        clock: Callable[[], float],
        kinds: frozenset[str] = frozenset({"estimate", "event"}),
    ) -> None:
        self._log, self._sink, self._kinds, self._clock = log, sink, kinds, clock
        self.cursor = Cursor.read(folder / f"{sink.name}.cursor.json")
        self._pause = FIRST_PAUSE
        self._not_before = clock()

    def pump(self) -> int:
        """Send what is outstanding, until done or the sink is away; returns how many entries were taken.

        After a failure it does nothing for a pause that doubles from 1 s to 5 min.
        """
        if self._clock() < self._not_before:
            return 0
        taken, before = 0, self.cursor.acknowledged
        try:
            taken = self._send_outstanding()
            self._pause = FIRST_PAUSE
        except OSError:
            self._not_before = self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if self.cursor.acknowledged != before:
            self.cursor.write()
        return taken

    def _send_outstanding(self) -> int:
        taken = 0
        with self._log.open("rb") as stream:
            self._find_place(stream)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if entry["kind"] in self._kinds:
                    try:
                        self._sink.deliver(entry)
                        taken += 1
                    except Undeliverable as refusal:
                        self.cursor.dead[str(entry["index"])] = str(refusal)
                self.cursor.acknowledged += len(line)
        return taken

    def _find_place(self, log: BinaryIO) -> None:
        """Go to where the cursor points; to the beginning if that is not the start of an entry of this
        log."""
        place = self.cursor.acknowledged
        if place:
            log.seek(place - 1)
            if log.read(1) != b"\n":
                self.cursor.acknowledged = 0
                log.seek(0)


class NdjsonFile:
    """A file with one JSON object a line, for whoever follows files; an entry is in it exactly once.

    Args:
        path: the file; it is continued if it exists.
    """

    name = "ndjson"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = max((json.loads(line)["index"] for line in _whole_lines(path)), default=-1)

    def deliver(self, entry: Entry) -> None:
        """Append the entry's index, hash, time, kind and body."""
        if entry["index"] <= self._last:
            return
        shown = {name: entry[name] for name in ("index", "hash", "time", "kind", "body")}
        line = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._path.open("ab", buffering=0) as stream:
            length = stream.tell()
            try:
                if stream.write(line) != len(line):
                    raise OSError(errno.ENOSPC, "no space left on the device", str(self._path))
                os.fdatasync(stream.fileno())
            except OSError:
                stream.truncate(length)
                raise
        self._last = entry["index"]


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that may not exist; a torn last one is cut off the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    keep = data.rfind(b"\n") + 1
    if keep < len(data):
        os.truncate(path, keep)
    return data[:keep].splitlines()
