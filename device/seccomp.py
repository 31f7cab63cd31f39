"""Seccomp: of the kernel's several hundred calls, the few dozen that eye still needs; all others fail with
EPERM.

A classic BPF program in the form of ``Documentation/userspace-api/seccomp_filter.rst``, assembled here
because it is short enough to be read: check the architecture, compare the call's number, look at one argument
where a call is only allowed in part. It is installed for every thread of the process at once (TSYNC).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Collection, Sequence
from typing import Literal

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_SECCOMP = {"x86_64": 317, "aarch64": 277}

ALWAYS = {
    # name: (x86_64, aarch64)
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "lseek": (8, 62),
    "close": (3, 57),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "mlock": (149, 228),
    "munlock": (150, 229),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    "setitimer": (38, 103),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Calls that are allowed whatever their arguments; None where an architecture has no such call."""
_WRITE, _MMAP, _MPROTECT, _IOCTL = (1, 64), (9, 222), (10, 226), (16, 29)

Device = Literal["v4l2", "libcamera", "serial"]
"""How an open device is spoken to."""
_LIBCAMERA = {
    # name: (x86_64, aarch64)
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "epoll_ctl": (233, 21),
    "timerfd_settime": (286, 86),
}
"""What libcamera's own event loop needs beside."""
_TYPE, _WHOLE = 0xFF00, 0xFFFFFFFF
_REQUESTS: dict[Device, list[tuple[int, int]]] = {
    "v4l2": [(_TYPE, ord("V") << 8)],
    "libcamera": [(_TYPE, ord("V") << 8), (_TYPE, ord("|") << 8), (_TYPE, ord("b") << 8)],
    "serial": [(_WHOLE, 0x541B)],
}
"""``ioctl`` requests (mask, value): by their type byte those of Video4Linux, media controllers and DMA buffers
(``linux/videodev2.h``, ``media.h``, ``dma-buf.h``); whole, how many bytes wait at a serial port (FIONREAD)."""

_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST = 0x15, 0x35
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _TSYNC = 1, 1

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def program(
    writable: Sequence[int], devices: Collection[Device] = (), *, machine: str | None = None
) -> list[Instruction]:
    """The filter: `ALWAYS`, memory that is not executable, ``write`` to a few descriptors, perhaps a camera.

    Args:
        writable: descriptors that may be written to.
        devices: what is open by then and needs ``ioctl`` requests of its own.
        machine: ``platform.machine()``; this one's by default.
    """
    column, architecture = _ARCHITECTURES[machine or platform.machine()]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _DENY),
    ]
    for numbers in (*ALWAYS.values(), *(_LIBCAMERA.values() if "libcamera" in devices else ())):
        number = numbers[column]
        if number is not None:
            code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for call in (_MMAP, _MPROTECT):
        code += _only_if(call[column], argument=2, tests=[(mmap.PROT_EXEC, 0)])
    code += _only_if(_WRITE[column], argument=0, tests=[(_WHOLE, descriptor) for descriptor in writable])
    requests = [request for device in sorted(set(devices)) for request in _REQUESTS[device]]
    code += _only_if(_IOCTL[column], argument=1, tests=requests)
    return [*code, (_RETURN, 0, 0, _DENY)]


def _only_if(number: int, *, argument: int, tests: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Allow call ``number`` if the low 32 bits of one argument pass a test (mask, value), else deny it."""
    block = [
        step
        for mask, value in tests
        for step in (
            (_LOAD, 0, 0, 16 + 8 * argument),
            (_AND, 0, 0, mask),
            (_JUMP_EQUAL, 0, 1, value),
            (_RETURN, 0, 0, _ALLOW),
        )
    ] + [(_RETURN, 0, 0, _DENY)]
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def install(filter_program: Sequence[Instruction]) -> None:
    """Bind every thread of this process, and whatever they start, to the filter; there is no way back.

    Sets ``no_new_privs``, without which an unprivileged process may not install one.

    Raises:
        OSError: the kernel has no seccomp filters, or a thread could not be bound.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in filter_program)
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(filter_program), ctypes.addressof(instructions))
    number = _SECCOMP[platform.machine()]
    result = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_TSYNC), ctypes.c_char_p(header)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    if result > 0:
        raise OSError(errno.EBUSY, f"seccomp: thread {result} could not be bound")
