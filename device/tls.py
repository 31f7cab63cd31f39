"""TLS contexts from a clinic's files, refused by name when they do not work."""

from __future__ import annotations

import ssl
from pathlib import Path

from opticaldr.errors import Refusal


def client_context(
    ca: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """For asking a server: whom to trust, and who we are if it wants to know."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ValueError) as fault:
        raise Refusal(f"{ca} holds no certificates that can be trusted ({_why(fault)})", _REMEDY) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        _show(context, certificate, key)
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For answering browsers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, certificate, key)
    return context


_REMEDY = "name PEM files that belong together"


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    for path in filter(None, (certificate, key)):
        if not path.is_file():
            raise Refusal(f"there is no {path}", _REMEDY)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as fault:
        raise Refusal(
            f"{certificate} and {key or 'its key'} cannot be used ({_why(fault)})", _REMEDY
        ) from None


def _why(fault: Exception) -> str:
    return (
        (getattr(fault, "reason", None) or getattr(fault, "strerror", None) or str(fault))
        .lower()
        .replace("_", " ")
    )
