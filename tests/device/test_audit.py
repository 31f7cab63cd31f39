"""The log: what is in it stays in it, whatever happens to the process, the disk or the file."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.artefacts import create_key
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


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    """A child logs as fast as it can and says which entry is safe; it is killed at random moments."""
    key = create_key(tmp_path / "key")
    log = tmp_path / "audit.ndjson"
    script = (
        "import sys; from pathlib import Path\n"
        "from opticaldr.artefacts import load_key; from opticaldr.device.audit import AuditLog\n"
        "with AuditLog(Path(sys.argv[1]), load_key(Path(sys.argv[2]))) as log:\n"
        "    while True: print(log.append('estimate', {'x': 'y' * 400})['hash'], flush=True)\n"
    )
    rng = np.random.default_rng(1)
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", script, log, tmp_path / "key"], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        acknowledged = [child.stdout.readline()]
        time.sleep(float(rng.uniform(0, 0.03)))
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.readlines()
        child.wait()
        kept = {
            json.loads(line)["hash"]
            for line in log.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        }
        assert {line.strip() for line in acknowledged if line.endswith("\n")} <= kept
    with AuditLog(log, key):
        pass
    verify_log(log, key.public_key())
