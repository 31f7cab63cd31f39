"""Ed25519 keys and detached signatures (RFC 8032), as files with strict modes."""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from opticaldr.errors import Refusal


def create_key(path: Path) -> Ed25519PrivateKey:
    """Make a private key at ``path`` (PKCS#8 PEM, mode 0600) and write its public half to ``path.pub``.

    Raises:
        Refusal: there is a file at ``path`` already.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refusal(f"{path} exists already", "keys are never overwritten: name another file") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
        path.with_name(path.name + ".pub").write_bytes(public)
    except OSError:  # half a key would be refused ever after
        path.unlink()
        raise
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        Refusal: no such file, others may read it, or it holds no Ed25519 private key.
    """
    if not path.is_file():
        raise Refusal(f"there is no key at {path}", "name a private key made by opticaldr")
    if path.stat().st_mode & 0o077:
        raise Refusal(f"others may read the private key {path}", f"run chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refusal(f"{path} holds no Ed25519 private key", "name a private key made by opticaldr")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key (PEM); `Refusal` if there is none."""
    if not path.exists():
        raise Refusal(f"there is no key at {path}", "name the .pub file of the key that signed")
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, OSError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Refusal(f"{path} holds no Ed25519 public key", "name the .pub file of the key that signed")
    return key


def sign(key: Ed25519PrivateKey, message: bytes) -> bytes:
    """Detached signature of ``message``, 64 bytes."""
    return key.sign(message)


def verify(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the key's signature of ``message``."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
