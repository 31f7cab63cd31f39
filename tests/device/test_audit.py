"""The log: what is in it stays in it, whatever happens to the process, the disk or the file."""

import os
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.device.audit import AuditFailure, AuditLog, read_log, verify_log
from opticaldr.errors import Refusal


@pytest.fixture
def log(tmp_path, key):
    path = tmp_path / "audit.ndjson"
    with AuditLog(path, key) as log:
        for number in range(5):
            log.append("estimate", {"estimate": number / 10, "note": "Übung"})
    return path


def test_entries_are_chained_signed_and_continued(log, key):
    with AuditLog(log, key) as again:
        again.append("ended", {})
    audit = verify_log(log, key.public_key())
    entries = list(read_log(log))
    assert audit.entries == len(entries) == 7
    assert [entry["index"] for entry in entries] == list(range(7))
    assert all(b["previous"] == a["hash"] for a, b in pairwise(entries))
    assert audit.head == entries[-1]["hash"]


def test_any_changed_byte_is_found(log, key):
    original = log.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(original), 300, replace=False):
        changed = bytearray(original)
        changed[place] ^= 1 << int(rng.integers(8))
        log.write_bytes(changed)
        with pytest.raises(AuditFailure):
            verify_log(log, key.public_key())


def test_removed_reordered_and_foreign_entries_are_found(log, key):
    lines = log.read_bytes().splitlines(keepends=True)
    for edited in (lines[:2] + lines[3:], [lines[0], lines[2], lines[1], *lines[3:]], [*lines, lines[-1]]):
        log.write_bytes(b"".join(edited))
        with pytest.raises(AuditFailure, match="does not follow"):
            verify_log(log, key.public_key())
    log.write_bytes(b"".join(lines))
    with pytest.raises(AuditFailure, match="not this key's"):
        verify_log(log, Ed25519PrivateKey.generate().public_key())


def test_a_cut_off_end_is_found_by_whoever_noted_the_head(log, key):
    head = verify_log(log, key.public_key()).head
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    verify_log(log, key.public_key())
    with pytest.raises(AuditFailure, match="cut short"):
        verify_log(log, key.public_key(), head=head)


def test_a_torn_line_is_cut_off_and_entered(log, key):
    with log.open("ab") as stream:
        stream.write(b'{"index":6,"ti')
    with pytest.raises(AuditFailure):
        verify_log(log, key.public_key())
    with AuditLog(log, key):
        pass
    assert list(read_log(log))[-1]["kind"] == "recovered"
    assert verify_log(log, key.public_key()).entries == 7


def test_two_cannot_write_to_one_log(log, key):
    with AuditLog(log, key), pytest.raises(Refusal, match="another run"), AuditLog(log, key):
        pass


def test_a_changed_log_is_not_continued(log, key):
    log.write_bytes(log.read_bytes().replace(b'"estimate":0.1', b'"estimate":0.2'))
    with pytest.raises(AuditFailure, match="entry 2"), AuditLog(log, key):
        pass


def test_a_full_disk_leaves_the_log_as_it_was(log, key, monkeypatch):
    before = log.read_bytes()
    with AuditLog(log, key) as open_log:
        monkeypatch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space"):
            open_log.append("estimate", {})
        monkeypatch.undo()
        assert log.read_bytes() == before
        open_log.append("estimate", {"after": True})
    assert verify_log(log, key.public_key()).entries == 7
