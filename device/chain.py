"""The audit log on the disk: entries that hold the hash of the one before, and the files that they lie in.

{"index": 7, "time": "2026-03-01T10:00:00.000Z", "kind": "estimate", "body": {…},
 "previous": "<hash of entry 6>", "hash": "<SHA-256 of all of the above>", "signature": "<Ed25519 of the
 hash>"}

audit.ndjson                    the first file
audit.000000008128.ndjson       the next one, named by its first entry: of kind "continued", it holds how many
                                bytes and entries of each kind came before, and is chained like every other
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from opticaldr.artefacts import verify
from opticaldr.errors import Refusal

BEGINNING = "0" * 64
"""What the first entry holds as the hash of the one before."""
CONTINUED = "continued"
"""Kind of the first entry of every file but the first."""

Entry = dict[str, Any]


class AuditFailure(Refusal):
    """The log was changed after it was written."""


@dataclass(frozen=True)
class Part:
    """One file of a log, and what lies before it: bytes, and entries of each kind."""

    path: Path
    start: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, path: Path) -> Part:
        """What the first entry of a file says; `AuditFailure` if that is none."""
        with path.open("rb") as stream:
            line = stream.readline()
        if not line.endswith(b"\n"):
            return cls(path)  # the very first line was torn: nothing lies before it
        entry = parsed(line, path)
        if entry["kind"] != CONTINUED:
            return cls(path)
        try:
            before = entry["body"]["before"]
            return cls(path, int(before["bytes"]), Counter(before["kinds"]))
        except (KeyError, TypeError, ValueError):
            raise damaged(path) from None


def part_path(log: Path, index: int) -> Path:
    """The file of a log that begins with the entry of that index."""
    return log.with_name(f"{log.stem}.{index:012}{log.suffix}") if index else log


def part_paths(log: Path) -> list[Path]:
    """The files of a log that there are, oldest first."""
    later = sorted(log.parent.glob(f"{log.stem}.{'[0-9]' * 12}{log.suffix}"))
    return [*([log] if log.is_file() else []), *later]


def parts(log: Path, place: int = 0) -> list[Part]:
    """The files that hold a log from byte ``place`` on, oldest first."""
    found: list[Part] = []
    for path in reversed(part_paths(log)):
        found.insert(0, Part.read(path))
        if found[0].start <= place:
            break
    return found


def between(log: Path, start: int, end: int) -> Iterator[tuple[Entry, int]]:
    """The entries between two places of a log, in bytes, each with the place where it ends.

    Raises:
        AuditFailure: what lies there are not entries.
    """
    for part in parts(log, start):
        with part.path.open("rb") as stream:
            place = part.start + stream.seek(max(start - part.start, 0))
            for line in stream:
                if place >= end:
                    return
                place += len(line)
                yield parsed(line, part.path), place


def latest(log: Path, kinds: Collection[str]) -> Iterator[Entry]:
    """The entries of some kinds, newest first; an older file is read only when it comes to that."""
    marks = [f'"kind":"{kind}"'.encode() for kind in kinds]
    for path in reversed(part_paths(log)):
        with path.open("rb") as stream:
            lines = [line for line in stream if line.endswith(b"\n") and any(mark in line for mark in marks)]
        for line in reversed(lines):
            entry = parsed(line, path)
            if entry["kind"] in kinds:
                yield entry


def parsed(line: bytes, path: Path) -> Entry:
    """The entry in a line, unverified; `AuditFailure` if it holds none."""
    try:
        entry: Entry = json.loads(line)
        entry["kind"], entry["index"]
    except (ValueError, KeyError, TypeError):
        raise damaged(path) from None
    return entry


def damaged(path: Path) -> AuditFailure:
    """What is said of a file whose lines are not entries."""
    return AuditFailure(f"{path} is damaged", "opticaldr audit verify says where")


def line_of(entry: Entry) -> bytes:
    """An entry as it is written."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def write_line(stream: FileIO, line: bytes) -> None:
    """Put a line at the end of a file and onto the disk, whole or not at all."""
    size = os.fstat(stream.fileno()).st_size
    try:
        if stream.write(line) != len(line):
            raise OSError(errno.ENOSPC, "no space left on the device", str(stream.name))
        os.fdatasync(stream.fileno())
    except OSError:
        stream.truncate(size)
        raise


def digest_of(entry: Mapping[str, Any]) -> bytes:
    """SHA-256 of an entry without ``hash`` and ``signature``, as canonical JSON."""
    canonical = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


def fault(line: bytes, index: int, previous: str, key: Ed25519PublicKey) -> str:
    """What is wrong with one line of a log; empty if nothing is."""
    if not line.endswith(b"\n"):
        return "it is torn"
    try:
        entry = json.loads(line)
        whole = line == line_of(entry)
        stated, signature = entry.pop("hash"), entry.pop("signature")
        signed = bytes.fromhex(signature)
        at, before = entry["index"], entry["previous"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it is not an entry"
    if at != index or before != previous:
        return "it does not follow the one before: entries were removed, added or reordered"
    digest = digest_of(entry)
    if not whole or stated != digest.hex() or signature != signed.hex():
        return "it was changed after it was written"
    if not verify(key, digest, signed):
        return "the signature is not this key's"
    return ""
