"""Ways out of a confined process, each tried for real: what eye does to itself at every start.

An attempt is written so that it does no harm where nothing stops it, and so that being stopped (EPERM,
EACCES) can be told from failing otherwise: it names a process, a path or a descriptor that does not exist,
for instance.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping

_SYSCALLS = {
    # name: (x86_64, aarch64)
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "unshare": (272, 97),
    "sendmsg": (46, 211),
    "setresuid": (117, 147),
    "dup": (32, 23),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "prctl": (157, 167),
}
_NOBODY_THERE = 0x7FFFFFFF
_STOPPED = (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT)  # the last where a whole family of sockets is off
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> int:
    number = _SYSCALLS[name][os.uname().machine == "aarch64"]
    result: int = _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def _read_a_file() -> None:
    os.close(os.open("/proc/self/stat", os.O_RDONLY))


def _create_a_file() -> None:
    path = os.path.join(_SCRATCH, f"opticaldr-escape-{os.getpid()}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


_SCRATCH = tempfile.gettempdir()  # found now: afterwards no directory can be looked at


def _write_to_a_file() -> None:
    os.close(os.open("/dev/null", os.O_WRONLY))


def _connect_over_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        s.connect(("127.0.0.1", 9))


def _open_a_socket(family: int, kind: int, protocol: int = 0) -> Callable[[], None]:
    return lambda: socket.socket(family, kind, protocol).close()


def _connect_to_a_unix_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect("\0opticaldr-escape")


def _keep_in_a_memory_file() -> None:
    name = ctypes.create_string_buffer(b"escape")
    os.close(_call("memfd_create", ctypes.addressof(name), 0))


def _keep_in_shared_memory() -> None:
    segment = _call("shmget", 0, 4096, 0o600)  # IPC_PRIVATE; it would outlive this process
    _call("shmctl", segment, 0, 0)  # IPC_RMID


def _send_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"", ("127.0.0.1", 9))


def _allow_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))


def _be_dumpable() -> None:
    _call("prctl", 4, _call("prctl", 3, 0, 0, 0, 0), 0, 0, 0)  # PR_SET_DUMPABLE, PR_GET_DUMPABLE


def _execute() -> None:
    os.execv("/nonexistent/opticaldr-escape", ["escape"])


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _start_a_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except RuntimeError as error:  # Python's word for a refused clone
        raise OSError(errno.EPERM, str(error)) from None
    thread.join()


def _make_memory_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


ATTEMPTS: Mapping[str, Callable[[], object]] = {
    "read a file": _read_a_file,
    "write to a file": _write_to_a_file,
    "create a file": _create_a_file,
    "connect over TCP": _connect_over_tcp,
    "send over UDP": _send_over_udp,
    "open a raw socket": _open_a_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open an IPv6 socket": _open_a_socket(socket.AF_INET6, socket.SOCK_STREAM),
    "open a packet socket": _open_a_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "connect to a Unix socket": _connect_to_a_unix_socket,
    "pass a descriptor": lambda: _call("sendmsg", -1, 0, 0),
    "write to standard error": lambda: os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b""),
    "duplicate a descriptor": lambda: os.close(_call("dup", 0)),
    "keep data in a memory file": _keep_in_a_memory_file,
    "keep data in shared memory": _keep_in_shared_memory,
    "open its own memory": lambda: os.close(os.open("/proc/self/mem", os.O_RDONLY)),
    "execute a program": _execute,
    "fork": _fork,
    "start a thread": _start_a_thread,
    "trace a process": lambda: _call("ptrace", 16, _NOBODY_THERE, 0, 0),
    "read another process's memory": lambda: _call("process_vm_readv", _NOBODY_THERE, 0, 0, 0, 0, 0),
    "signal a process": lambda: os.kill(os.getpid(), 0),
    "set up an io_uring": lambda: _call("io_uring_setup", 1, 0),
    "enter a new namespace": lambda: _call("unshare", 0),
    "set its core dump limit": _allow_core_dumps,
    "make itself dumpable": _be_dumpable,
    "become root": lambda: _call("setresuid", 0, 0, 0),
    "make memory executable": _make_memory_executable,
}


def escapes(names: tuple[str, ...] = tuple(ATTEMPTS)) -> list[str]:
    """Try the named ways out, in this thread; returns those that nothing stopped."""
    return [name for name in names if not _stopped(ATTEMPTS[name])]


def _stopped(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        return error.errno in _STOPPED
    return False


class Witness:
    """A thread that was there before the confinement and tries the same afterwards."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._escaped: list[str] = []
        self._thread = threading.Thread(target=self._try, daemon=True)
        self._thread.start()

    def _try(self) -> None:
        self._go.wait()
        self._escaped = escapes()

    def escapes(self) -> list[str]:
        """Let it try every way out; returns those that nothing stopped."""
        self._go.set()
        self._thread.join()
        return self._escaped
