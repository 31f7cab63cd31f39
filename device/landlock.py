"""Landlock: this process, from now on, opens no file, binds and connects no TCP port, signals nobody outside.

The kernel's own interface (``Documentation/userspace-api/landlock.rst``), without a library: a ruleset that
handles everything the kernel knows and allows none of it. It binds the calling thread and what it starts
afterwards; seccomp (`opticaldr.device.seccomp`) binds the other threads too.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file system rights that each version of the interface handles; later versions add none we
know."""
_TCP_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_UNIX_SOCKETS_AND_SIGNALS = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(
        ctypes.c_long(number),
        *(ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments),
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def interface_version() -> int:
    """Version of the kernel's Landlock interface; 0 where there is none."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def deny_everything() -> None:
    """Give up every right that this kernel's Landlock knows. Needs ``no_new_privs``.

    Raises:
        OSError: the kernel has no Landlock, or would not.
    """
    version = interface_version()
    if version == 0:
        raise OSError("the kernel has no Landlock (it needs Linux 5.13 with landlock among its LSMs)")
    file_rights = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    network = _TCP_BIND_AND_CONNECT if version >= 4 else 0
    scopes = _SCOPE_ABSTRACT_UNIX_SOCKETS_AND_SIGNALS if version >= 6 else 0
    attributes = struct.pack("<QQQ", file_rights, network, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, attributes, size, 0)
    try:
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
