"""Signatures hold for the exact bytes and the exact key."""

import errno
import stat
from pathlib import Path

import pytest

from opticaldr.artefacts import create_key, load_key, load_public_key, sign, verify
from opticaldr.errors import Refusal


def test_signature_holds_for_these_bytes_and_this_key_only(tmp_path):
    create_key(tmp_path / "clinic.key")
    create_key(tmp_path / "other.key")
    signature = sign(load_key(tmp_path / "clinic.key"), b"estimate")
    public = load_public_key(tmp_path / "clinic.key.pub")
    assert verify(public, b"estimate", signature)
    assert not verify(public, b"estimatf", signature)
    assert not verify(load_public_key(tmp_path / "other.key.pub"), b"estimate", signature)


def test_private_key_is_for_its_owner_only(tmp_path):
    path = tmp_path / "clinic.key"
    create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Refusal, match="never overwritten"):
        create_key(path)
    path.chmod(0o644)
    with pytest.raises(Refusal, match="chmod 600"):
        load_key(path)


def test_what_is_no_key_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no key at"):
        load_key(tmp_path / "none")
    with pytest.raises(Refusal, match="no key at"):
        load_public_key(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(Refusal, match="no Ed25519 private key"):
        load_key(tmp_path / "text")
    with pytest.raises(Refusal, match="no Ed25519 public key"):
        load_public_key(tmp_path / "text")


def test_a_full_disk_leaves_no_half_a_key(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            create_key(tmp_path / "device.key")
    assert not list(tmp_path.iterdir())
    create_key(tmp_path / "device.key")
