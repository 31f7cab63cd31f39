"""Telling the service manager how it goes: the datagrams of sd_notify(3), without a library."""

from __future__ import annotations

import os
import socket

READY, ALIVE = "READY=1", "WATCHDOG=1"


def notify(state: str) -> None:
    """Send a state to the service manager; does nothing where none listens (``NOTIFY_SOCKET`` unset or dead)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        try:
            line.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:  # the manager is no concern of a camera that works
            return
