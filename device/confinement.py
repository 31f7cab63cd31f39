"""Eye locks itself in: step by step, and after each step it tries to get out.

Order matters. Frames are locked in memory while the limit may still be raised; then core dumps, privileges
and dumpability go; Landlock comes before seccomp so that it can be tried alone; seccomp comes last because
afterwards nothing can be set any more.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from opticaldr.device import escapes, landlock, seccomp
from opticaldr.device.ring import FrameRing

_PR_SET_DUMPABLE, _PR_GET_DUMPABLE = 4, 3
_NOBODY = 65534
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Protection(IntFlag):
    """What eye gives up; the bits of `opticaldr.device.records.Record.protections`."""

    LOCKED_FRAMES = 1
    """Frame buffers cannot be swapped out."""
    NO_CORE_DUMPS = 2
    NO_PRIVILEGES = 4
    """No capabilities, and not root."""
    NOT_DUMPABLE = 8
    """No other process of the same user can look into it."""
    LANDLOCK = 16
    SECCOMP = 32
    ALL_THREADS = 64
    """Seccomp binds threads that were running before it, too."""


NONE, EVERY = Protection(0), Protection(sum(Protection))


@dataclass(frozen=True)
class Finding:
    """Whether one protection holds, and if not, why.

    Attributes:
        protection: which.
        flaw: what got through, or why it could not be set; empty if it holds.
    """

    protection: Protection
    flaw: str = ""


def confine(
    ring: FrameRing, writable: Sequence[int], devices: Collection[seccomp.Device] = ()
) -> list[Finding]:
    """Give up everything but the camera's open descriptors and the pipe; returns what was found by trying.

    Args:
        ring: the frame buffers.
        writable: the descriptors that may be written to from now on: the pipe.
        devices: how camera and board are spoken to.
    """
    witness = escapes.Witness()
    steps: Sequence[tuple[Protection, Callable[[], Iterator[str]]]] = (
        (Protection.LOCKED_FRAMES, lambda: _lock(ring)),
        (Protection.NO_CORE_DUMPS, _forgo_core_dumps),
        (Protection.NO_PRIVILEGES, _drop_privileges),
        (Protection.NOT_DUMPABLE, _hide_memory),
        (Protection.LANDLOCK, _enter_landlock),
        (Protection.SECCOMP, lambda: _filter_calls(writable, devices)),
        (Protection.ALL_THREADS, lambda: iter(witness.escapes())),
    )
    return [Finding(protection, "; ".join(_flaws(step))) for protection, step in steps]


def examine() -> dict[str, str]:
    """Try every protection in a process of its own: what does not hold on this machine, and why; empty if all
    do."""
    trial = subprocess.run(
        [sys.executable, "-m", "opticaldr.device.confinement"], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        return {"all": (trial.stderr.strip().splitlines() or ["the trial ended without a word"])[-1]}
    return dict(json.loads(trial.stdout))


def _flaws(step: Callable[[], Iterator[str]]) -> list[str]:
    try:
        return list(step())
    except (OSError, ValueError, KeyError) as error:
        return [str(error)]


def _lock(ring: FrameRing) -> Iterator[str]:
    """Lock everything if that is allowed, for the networks' intermediate results; the frames in any case."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        pass  # not privileged: the frames alone are within the usual limit
    else:
        _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    ring.lock()
    if not ring.locked:
        yield ring.why_not_locked
    if int(_status("VmLck").split()[0]) * 1024 < ring.slots.nbytes:
        yield "the kernel counts fewer locked pages than the frames have"


def _forgo_core_dumps() -> Iterator[str]:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        yield "core dumps are still allowed"


def _drop_privileges() -> Iterator[str]:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    header, nothing = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    number = _CAPSET[os.uname().machine]
    if _libc.syscall(ctypes.c_long(number), ctypes.c_char_p(header), ctypes.c_char_p(nothing)) != 0:
        yield f"capabilities cannot be dropped ({os.strerror(ctypes.get_errno())})"
    if any(int(_status(which), 16) for which in ("CapEff", "CapPrm", "CapInh", "CapAmb")):
        yield "capabilities are left"
    if "become root" in escapes.escapes(("become root",)):
        yield "it could become root again"
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:
        pass
    else:
        yield "it could allow core dumps again"


def _hide_memory() -> Iterator[str]:
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        yield "the process can still be dumped"
    yield from escapes.escapes(("open its own memory",))


def _enter_landlock() -> Iterator[str]:
    if _libc.prctl(38, 1, 0, 0, 0) != 0:
        yield "no_new_privs cannot be set"
    landlock.deny_everything()
    yield from escapes.escapes(("read a file", "write to a file", "create a file", "open its own memory"))
    if landlock.interface_version() >= 4:
        yield from escapes.escapes(("connect over TCP",))


def _filter_calls(writable: Sequence[int], devices: Collection[seccomp.Device]) -> Iterator[str]:
    seccomp.install(seccomp.program(writable, devices))
    yield from escapes.escapes()


def _status(name: str) -> str:
    """One line of ``/proc/self/status`` (proc(5))."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise KeyError(name)


if __name__ == "__main__":
    _out = os.dup(1)
    _found = confine(FrameRing(2, (896, 896)), [_out])
    _bad = {f.protection.name or "": f.flaw for f in _found if f.flaw}
    os.write(_out, json.dumps(_bad).encode())
    os._exit(0)
