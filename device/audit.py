"""The audit log: what happened, hash-chained and signed, in the files of `opticaldr.device.chain`.

An entry is on the disk (``fdatasync``) before `AuditLog.append` returns, so what was acknowledged survives a
power cut; a line that was torn by one is cut off when the log is opened next, and that is entered too. A file that
is full is followed by the next; only the newest and its link to the one before are verified at a start. Nobody
can change, remove or reorder entries without the key; cutting off the end is found by whoever remembers a
later `AuditLog.head`.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from opticaldr.artefacts import sign
from opticaldr.device.chain import (
    BEGINNING,
    CONTINUED,
    AuditFailure,
    Entry,
    Part,
    damaged,
    digest_of,
    fault,
    line_of,
    parsed,
    part_path,
    part_paths,
    write_line,
)
from opticaldr.device.owner import require_owner
from opticaldr.errors import Refusal

FULL = 4 * 2**20
"""Bytes after which a file is followed by the next: five to six days of one estimate a minute."""


@dataclass
class Audit:
    """What verification found: number of entries, hash of the last one, times of the first and the last, how
    many there are of each kind, and how many bytes they take."""

    entries: int = 0
    head: str = BEGINNING
    first: str = ""
    last: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    size: int = 0


def public_hex(key: Ed25519PublicKey) -> str:
    """The 32 bytes of a public key as hex."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


class AuditLog:
    """Append to a log; a context manager. Its folder is locked, so that two voices cannot write to one log.

    Args:
        path: its first file.
        key: signs the entries.
        full: bytes after which a file is followed by the next.

    Attributes:
        path: its first file.
        head: hash of the last entry.
        entries: number of entries.
        kinds: how many there are of each kind.
        lost: entries that could not be added since it was opened.
        size: bytes of all files that are safe on the disk; whoever reads them meanwhile must not read further.

    Raises:
        Refusal: on entering: another process writes to it, it belongs to another key, or root opens or would make
            it where another user is at home.
        AuditFailure: on entering: it does not verify.
    """

    def __init__(self, path: Path, key: Ed25519PrivateKey, *, full: int = FULL) -> None:
        self.path = path
        self.head = BEGINNING
        self.entries = 0
        self.kinds: Counter[str] = Counter()
        self.lost = 0
        self.size = 0
        self._key, self._full = key, full
        self._folder = -1
        self._stream: FileIO | None = None

    def __enter__(self) -> Self:
        require_owner(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> None:
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"another run writes to {self.path}", "stop it, or name another --out") from None
        self._draft.unlink(missing_ok=True)
        newest = [self.path, *part_paths(self.path)][-1]
        self._stream = FileIO(newest, "a+")
        torn = _cut_torn_line(self._stream)
        if self._stream.seek(0, os.SEEK_END):
            audit = _verify_newest(self.path, self._key.public_key())
            self.entries, self.head, self.kinds = audit.entries, audit.head, audit.kinds
            self.size = audit.size
        else:
            self.append("opened", {"public_key": public_hex(self._key.public_key())})
            os.fsync(self._folder)
        if torn:
            self.append("recovered", {"torn_bytes": torn})

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        os.close(self._folder)

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Add an entry and wait until it is on the disk; returns it.

        Raises:
            OSError: it could not be written (a full disk); the log is as it was before.
        """
        assert self._stream is not None, "the log is open only within its with block"
        try:
            if os.fstat(self._stream.fileno()).st_size >= self._full:
                self._turn_over()
            entry = self._signed(kind, body)
            write_line(self._stream, line_of(entry))
        except OSError:
            self.lost += 1
            raise
        self._count(entry)
        return entry

    def _turn_over(self) -> None:
        """Begin the next file: it appears whole, with its first entry, or not at all."""
        before = {"bytes": self.size, "kinds": dict(self.kinds)}
        entry = self._signed(CONTINUED, {"before": before})
        stream = FileIO(self._draft, "w+")
        try:
            write_line(stream, line_of(entry))
            self._draft.rename(part_path(self.path, self.entries))
        except OSError:
            stream.close()
            raise
        if self._stream is not None:
            self._stream.close()
        self._stream = stream
        self._count(entry)
        os.fsync(self._folder)

    @property
    def _draft(self) -> Path:
        return self.path.with_name(f".{self.path.name}.draft")

    def _signed(self, kind: str, body: Mapping[str, Any]) -> Entry:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry: Entry = {
            "index": self.entries,
            "time": time,
            "kind": kind,
            "body": dict(body),
            "previous": self.head,
        }
        digest = digest_of(entry)
        return entry | {"hash": digest.hex(), "signature": sign(self._key, digest).hex()}

    def _count(self, entry: Entry) -> None:
        self.head = entry["hash"]
        self.entries += 1
        self.kinds[entry["kind"]] += 1
        self.size += len(line_of(entry))


def read_log(path: Path) -> Iterator[Entry]:
    """The entries of a log, unverified; a torn last line is left out."""
    for file in part_paths(path):
        with file.open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    yield parsed(line, file)


def verify_log(path: Path, key: Ed25519PublicKey, *, head: str | None = None) -> Audit:
    """Check every link and every signature in all files of a log.

    Args:
        path: its first file.
        key: whose signatures they must be.
        head: hash of an entry that must be in it (noted down elsewhere earlier), to find a log that was cut
            short.

    Raises:
        AuditFailure: names the first entry that is wrong and how.
        Refusal: there is no log.
    """
    files = part_paths(path)
    if not files:
        raise Refusal(f"there is no audit log at {path}", "name the audit.ndjson in the folder of a run")
    audit = Audit()
    met = head is None
    for entry in _walk(files, key, audit):
        met = met or entry["hash"] == head
    if not met:
        raise AuditFailure(f"{path} does not hold the entry {head}", "it was cut short, or is another log")
    return audit


def _verify_newest(path: Path, key: Ed25519PublicKey) -> Audit:
    """Check the newest file of a log, and that it follows the last entry of the file before."""
    *older, newest = part_paths(path)
    audit = Audit()
    if older:
        line = _last_line(older[-1])
        last, part = parsed(line, older[-1]), Part.read(newest)
        flaw = fault(line, last["index"], last.get("previous", ""), key)
        if flaw:
            raise _failure(older[-1], last["index"], flaw)
        audit = Audit(last["index"] + 1, last["hash"], kinds=part.kinds, size=part.start)
    for _ in _walk([newest], key, audit):
        pass
    return audit


def _walk(files: Iterable[Path], key: Ed25519PublicKey, audit: Audit) -> Iterator[Entry]:
    """The entries of files that follow what ``audit`` has reached, each one verified and added to it."""
    for file in files:
        with file.open("rb") as stream:
            for line in stream:
                flaw = fault(line, audit.entries, audit.head, key)
                if flaw:
                    raise _failure(file, audit.entries, flaw)
                entry = parsed(line, file)
                if entry["kind"] == CONTINUED:
                    part = Part.read(file)
                    if (part.start, part.kinds) != (audit.size, audit.kinds):
                        raise damaged(file)
                audit.entries, audit.head = audit.entries + 1, entry["hash"]
                audit.first, audit.last = audit.first or entry["time"], entry["time"]
                audit.kinds[entry["kind"]] += 1
                audit.size += len(line)
                yield entry


def _failure(file: Path, index: int, flaw: str) -> AuditFailure:
    return AuditFailure(f"{file}, entry {index}: {flaw}", "keep it as evidence, and name another --out")


def _last_line(path: Path) -> bytes:
    """The last line of a file of entries."""
    with path.open("rb") as stream:
        return deque(stream, maxlen=1)[0]


def _cut_torn_line(stream: FileIO) -> int:
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
