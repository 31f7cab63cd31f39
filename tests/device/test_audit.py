"""The log: what is in it stays in it, whatever happens to the process, the disk or the file."""

import os
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.device.audit import AuditLog, read_log, verify_log
from opticaldr.device.chain import AuditFailure, latest, part_paths
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


@pytest.mark.proves("VOICE-2")
def test_any_changed_byte_is_found(log, key):
    original = log.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(original), 300, replace=False):
        changed = bytearray(original)
        changed[place] ^= 1 << int(rng.integers(8))
        log.write_bytes(changed)
        with pytest.raises(AuditFailure):
            verify_log(log, key.public_key())


@pytest.mark.proves("VOICE-2")
def test_removed_reordered_and_foreign_entries_are_found(log, key):
    lines = log.read_bytes().splitlines(keepends=True)
    for edited in (lines[:2] + lines[3:], [lines[0], lines[2], lines[1], *lines[3:]], [*lines, lines[-1]]):
        log.write_bytes(b"".join(edited))
        with pytest.raises(AuditFailure, match="does not follow"):
            verify_log(log, key.public_key())
    log.write_bytes(b"".join(lines))
    with pytest.raises(AuditFailure, match="not this key's"):
        verify_log(log, Ed25519PrivateKey.generate().public_key())


@pytest.mark.proves("VOICE-2")
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


@pytest.fixture
def long_log(tmp_path, key):
    """Four files of about a dozen entries each."""
    path = tmp_path / "audit.ndjson"
    with AuditLog(path, key, full=5000) as log:
        for number in range(44):
            log.append("event" if number == 3 else "estimate", {"estimate": number / 10})
    assert len(part_paths(path)) == 4
    return path


def test_a_full_file_is_followed_by_the_next_and_the_chain_goes_on(long_log, key):
    files = part_paths(long_log)
    with AuditLog(long_log, key, full=5000) as log:
        log.append("ended", {})
        audit = verify_log(long_log, key.public_key())
        assert (log.entries, log.head, log.kinds, log.size) == (
            audit.entries,
            audit.head,
            audit.kinds,
            audit.size,
        )
    entries = list(read_log(long_log))
    assert [entry["index"] for entry in entries] == list(range(audit.entries))
    assert all(b["previous"] == a["hash"] for a, b in pairwise(entries))
    assert audit.kinds == {"opened": 1, "estimate": 43, "event": 1, "continued": 3, "ended": 1}
    assert audit.size == sum(file.stat().st_size for file in files)
    assert all(5000 <= file.stat().st_size < 6000 for file in files[:-1])


def test_the_latest_entries_come_from_every_file(long_log):
    estimates = [entry for entry in read_log(long_log) if entry["kind"] == "estimate"]
    assert list(latest(long_log, ("estimate",))) == estimates[::-1]
    assert [entry["kind"] for entry in latest(long_log, ("event", "rearmed"))] == ["event"]


@pytest.mark.proves("VOICE-2")
def test_files_that_were_changed_removed_or_swapped_are_found(long_log, key):
    files = part_paths(long_log)
    second, third = (file.read_bytes() for file in files[1:3])
    files[1].write_bytes(second.replace(b'"estimate":1.5', b'"estimate":5.1'))
    with pytest.raises(AuditFailure, match="changed"):
        verify_log(long_log, key.public_key())
    files[1].unlink()
    with pytest.raises(AuditFailure, match="does not follow"):
        verify_log(long_log, key.public_key())
    files[1].write_bytes(third)
    files[2].write_bytes(second)
    with pytest.raises(AuditFailure, match="does not follow"):
        verify_log(long_log, key.public_key())
    files[1].write_bytes(second)
    files[2].write_bytes(third)
    verify_log(long_log, key.public_key())
    files[0].unlink()
    with pytest.raises(AuditFailure, match="entry 0"):
        verify_log(long_log, key.public_key())


def test_a_start_verifies_the_newest_file_and_its_link_alone(long_log, key):
    first, _, before, newest = part_paths(long_log)
    first.write_bytes(first.read_bytes().replace(b'"estimate":0.1', b'"estimate":0.2'))
    with AuditLog(long_log, key):
        pass
    with pytest.raises(AuditFailure, match="entry 2"):
        verify_log(long_log, key.public_key())
    for file, match in ((newest, "does not follow"), (before, "changed")):
        whole = file.read_bytes()
        lines = whole.splitlines(keepends=True)
        edited = (
            lines[1:] if file is newest else [*lines[:-1], lines[-1].replace(b'"estimate"', b'"Estimate"')]
        )
        file.write_bytes(b"".join(edited))
        with pytest.raises(AuditFailure, match=match), AuditLog(long_log, key):
            pass
        file.write_bytes(whole)


def test_a_full_disk_at_the_end_of_a_file_leaves_the_log_as_it_was(long_log, key, monkeypatch):
    with AuditLog(long_log, key, full=1) as log:
        before, files = (log.head, log.size, log.entries), part_paths(long_log)
        monkeypatch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space"):
            log.append("estimate", {})
        monkeypatch.undo()
        assert ((log.head, log.size, log.entries), part_paths(long_log)) == (before, files)
        log.append("estimate", {})
    assert len(part_paths(long_log)) == len(files) + 1
    verify_log(long_log, key.public_key())
