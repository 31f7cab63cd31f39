"""The audit log: one JSON object a line, each holding the hash of the one before, each signed.

    {"index": 7, "time": "2026-03-01T10:00:00.000Z", "kind": "estimate", "body": {…},
     "previous": "<hash of entry 6>", "hash": "<SHA-256 of all of the above>", "signature": "<Ed25519 of the
     hash>"}

An entry is on the disk (``fdatasync``) before `AuditLog.append` returns, so what was acknowledged survives a
power cut; a line that was torn by one is cut off when the log is opened next, and that is entered too. Nobody
can change, remove or reorder entries without the key; cutting off the end is found by whoever remembers a
later `AuditLog.head`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from opticaldr.artefacts import sign, verify
from opticaldr.errors import Refusal

BEGINNING = "0" * 64
"""What the first entry holds as the hash of the one before."""

Entry = dict[str, Any]


class AuditFailure(Refusal):
    """The log was changed after it was written."""


@dataclass(frozen=True)
class Audit:
    """What verification found: number of entries, hash of the last one, times of the first and the last, how
    many there are of each kind."""

    entries: int
    head: str
    first: str
    last: str
    kinds: Counter[str] = field(default_factory=Counter)


def public_hex(key: Ed25519PublicKey) -> str:
    """The 32 bytes of a public key as hex."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


class AuditLog:
    """Append to a log; a context manager. The file is locked, so that two voices cannot write to one log.

    Attributes:
        path: the file.
        head: hash of the last entry.
        entries: number of entries.
        kinds: how many there are of each kind.
        lost: entries that could not be added since it was opened.
        size: bytes that are safe on the disk; whoever reads the file meanwhile must not read further.

    Raises:
        Refusal: on entering: another process writes to it, or it belongs to another key.
        AuditFailure: on entering: it does not verify.
    """

    def __init__(self, path: Path, key: Ed25519PrivateKey) -> None:
        self.path = path
        self.head = BEGINNING
        self.entries = 0
        self.kinds: Counter[str] = Counter()
        self.lost = 0
        self.size = 0
        self._key = key
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(self.path, "a+b", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise Refusal(f"another run writes to {self.path}", "stop it, or name another --out") from None
        torn = _cut_torn_line(self._stream)
        self.size = self._stream.seek(0, os.SEEK_END)
        if self.size:
            audit = verify_log(self.path, self._key.public_key())
            self.entries, self.head, self.kinds = audit.entries, audit.head, audit.kinds
        else:
            self.append("opened", {"public_key": public_hex(self._key.public_key())})
            _sync_folder(self.path.parent)
        if torn:
            self.append("recovered", {"torn_bytes": torn})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Add an entry and wait until it is on the disk; returns it.

        Raises:
            OSError: it could not be written (a full disk); the log is as it was before.
        """
        assert self._stream is not None, "the log is open only within its with block"
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry: Entry = {
            "index": self.entries,
            "time": time,
            "kind": kind,
            "body": dict(body),
            "previous": self.head,
        }
        digest = _digest(entry)
        entry |= {"hash": digest.hex(), "signature": sign(self._key, digest).hex()}
        line = _line(entry)
        try:
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, "no space left on the device", str(self.path))
            os.fdatasync(self._stream.fileno())
        except OSError:
            self.lost += 1
            self._stream.truncate(self.size)
            raise
        self.head = entry["hash"]
        self.entries += 1
        self.kinds[kind] += 1
        self.size += len(line)
        return entry


def read_log(path: Path) -> Iterator[Entry]:
    """The entries of a log, unverified; a torn last line is left out."""
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield json.loads(line)


def verify_log(path: Path, key: Ed25519PublicKey, *, head: str | None = None) -> Audit:
    """Check every link and every signature of a log.

    Args:
        path: the log.
        key: whose signatures they must be.
        head: hash of an entry that must be in it (noted down elsewhere earlier), to find a log that was cut
            short.

    Raises:
        AuditFailure: names the first entry that is wrong and how.
        Refusal: there is no log.
    """
    if not path.is_file():
        raise Refusal(f"there is no audit log at {path}", "name the audit.ndjson in the folder of a run")
    previous, entries, times, met = BEGINNING, 0, ["", ""], head is None
    kinds: Counter[str] = Counter()
    with path.open("rb") as stream:
        for index, line in enumerate(stream):
            fault = _fault(line, index, previous, key)
            if fault:
                raise AuditFailure(
                    f"{path}, entry {index}: {fault}", "keep it as evidence, and name another --out"
                )
            entry = json.loads(line)
            previous, entries = entry["hash"], index + 1
            kinds[entry["kind"]] += 1
            times = [times[0] or entry["time"], entry["time"]]
            met = met or previous == head
    if not met:
        raise AuditFailure(f"{path} does not hold the entry {head}", "it was cut short, or is another log")
    return Audit(entries, previous, times[0], times[1], kinds)


def _fault(line: bytes, index: int, previous: str, key: Ed25519PublicKey) -> str:
    """What is wrong with one line of a log; empty if nothing is."""
    if not line.endswith(b"\n"):
        return "it is torn"
    try:
        entry = json.loads(line)
        whole = line == _line(entry)
        stated, signature = entry.pop("hash"), entry.pop("signature")
        signed = bytes.fromhex(signature)
        at, before = entry["index"], entry["previous"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it is not an entry"
    if at != index or before != previous:
        return "it does not follow the one before: entries were removed, added or reordered"
    digest = _digest(entry)
    if not whole or stated != digest.hex() or signature != signed.hex():
        return "it was changed after it was written"
    if not verify(key, digest, signed):
        return "the signature is not this key's"
    return ""


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _digest(entry: Mapping[str, Any]) -> bytes:
    canonical = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


def _cut_torn_line(stream: BinaryIO) -> int:
    """Cut off what follows the last line end; returns the number of bytes."""
    size = stream.seek(0, os.SEEK_END)
    keep = size
    while keep:
        start = max(0, keep - 4096)
        stream.seek(start)
        block = stream.read(keep - start)
        if b"\n" in block:
            keep = start + block.rindex(b"\n") + 1
            break
        keep = start
    if keep < size:
        stream.truncate(keep)
    return size - keep


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
