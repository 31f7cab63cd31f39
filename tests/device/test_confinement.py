"""Eye cannot get out, and the attempts to are real: without the confinement each of them succeeds."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from opticaldr.device import confinement, seccomp
from opticaldr.device.escapes import ATTEMPTS
from opticaldr.device.landlock import interface_version

pytestmark = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")

CONFINE = """
import json, os, sys
from opticaldr.device import confinement, escapes
from opticaldr.device.ring import FrameRing
pipe = os.dup(1)
{before}
findings = confinement.confine(FrameRing(4, (64, 64)), [pipe])
os.write(pipe, json.dumps({{f.protection.name: f.flaw for f in findings}}).encode())
os._exit(0)
"""


def run_python(script: str) -> str:
    one_thread = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )  # as voice does
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **one_thread},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def confined(before: str = "") -> dict[str, str]:
    return json.loads(run_python(CONFINE.format(before=before)))


@pytest.mark.proves("EYE-1")
def test_every_protection_holds():
    assert not any(confined().values())


def test_a_machine_can_be_examined_before_anything_is_deployed():
    assert confinement.examine() == {}
    script = """
import json, os, resource
from opticaldr.device import confinement
from opticaldr.device.ring import FrameRing
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
out = os.dup(1)
found = confinement.confine(FrameRing(4, (896, 896)), [out])
os.write(out, json.dumps({f.protection.name: f.flaw for f in found if f.flaw}).encode()); os._exit(0)
"""
    lacking = json.loads(run_python(script))
    assert list(lacking) == ["LOCKED_FRAMES"]
    assert "ulimit -l" in lacking["LOCKED_FRAMES"]


@pytest.mark.proves("EYE-1")
def test_without_confinement_nothing_stops_the_attempts():
    script = "from opticaldr.device import escapes; import json; print(json.dumps(escapes.escapes()))"
    free = set(json.loads(run_python(script)))
    no_ipv6 = set() if Path("/proc/net/if_inet6").exists() else {"open an IPv6 socket"}
    only_root_may = {"open a raw socket", "open a packet socket", "become root"}
    assert free == set(ATTEMPTS) - (set() if os.geteuid() == 0 else only_root_may) - no_ipv6


@pytest.mark.proves("EYE-1")
@pytest.mark.parametrize(
    ("switched_off", "noticed", "by"),
    [
        ("confinement.seccomp.install = lambda program: None", "SECCOMP", "fork"),
        ("confinement.landlock.deny_everything = lambda: None", "LANDLOCK", "read a file"),
        ("confinement._libc = type('L', (), {'prctl': lambda *a: 1, 'syscall': confinement._libc.syscall,"
         " 'mlockall': confinement._libc.mlockall})()", "NOT_DUMPABLE", "dumped"),
        ("FrameRing.lock = lambda self: None", "LOCKED_FRAMES", ""),
        ("import resource; confinement.resource.setrlimit = lambda *a: None;"
         " confinement.resource.getrlimit = lambda *a: (-1, -1)", "NO_CORE_DUMPS", "core dumps"),
        ("confinement.seccomp._TSYNC = 0", "ALL_THREADS", "fork"),
    ],
)  # fmt: skip
def test_a_protection_that_is_missing_is_found_by_trying(switched_off, noticed, by):
    findings = confined(switched_off)
    assert by in findings[noticed]
    assert findings[noticed]


DUMP = """
import os, resource, sys
from opticaldr.device import confinement
from opticaldr.device.ring import FrameRing
os.chdir(sys.argv[1])
pipe = os.dup(1)
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if sys.argv[2] == "confined":
    confinement.confine(FrameRing(4, (64, 64)), [pipe])
import ctypes; ctypes.string_at(0)
"""


@pytest.mark.proves("EYE-2")
def test_a_crash_leaves_no_core_dump(tmp_path):
    tmp_path.chmod(0o777)

    def dumped(how: str) -> bool:
        crashed = subprocess.Popen(
            [sys.executable, "-c", DUMP, str(tmp_path), how], stderr=subprocess.DEVNULL
        )
        _, status = os.waitpid(crashed.pid, 0)
        crashed.returncode = status
        assert os.WIFSIGNALED(status)
        return os.WCOREDUMP(status)

    if not dumped("free"):
        pytest.skip("this machine dumps no core of any process, so there is nothing to forbid")
    assert not dumped("confined")


STEPS = {
    "_forgo_core_dumps": (),
    "_drop_privileges": ("become root", "open a raw socket", "open a packet socket"),
    "_hide_memory": ("open its own memory",),
    "_enter_landlock": ("read a file", "write to a file", "create a file"),
    "_filter_calls": (
        "send over UDP",
        "pass a descriptor",
        "execute a program",
        "fork",
        "set up an io_uring",
    ),
}


@pytest.mark.parametrize("step", list(STEPS)[1:])
def test_each_step_denies_what_the_steps_before_it_left_open(step):
    earlier = [f"confinement.{name}()" for name in list(STEPS)[: list(STEPS).index(step)]]
    argument = "[out], ()" if step == "_filter_calls" else ""
    script = f"""
import json, os
from opticaldr.device import confinement, escapes
out = os.dup(1)
flaws = [flaw for step in ({"".join(f"{call}, " for call in earlier)}) for flaw in step]
if {step == "_hide_memory"}:  # a change of user has hidden it already
    confinement._libc.prctl(4, 1, 0, 0, 0)
before = escapes.escapes({STEPS[step]!r})
flaws += confinement.{step}({argument})
os.write(out, json.dumps([before, flaws, escapes.escapes({STEPS[step]!r})]).encode())
os._exit(0)
"""
    before, flaws, after = json.loads(run_python(script))
    only_root_may = STEPS["_drop_privileges"] if os.geteuid() != 0 else ()
    assert before == [name for name in STEPS[step] if name not in only_root_may]
    assert flaws == after == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to keep")
def test_root_that_stays_root_is_noticed():
    findings = confined("confinement._drop_privileges.__globals__['os'].setresuid = lambda *a: None")
    assert "become root" in findings["NO_PRIVILEGES"] or "capabilities" in findings["NO_PRIVILEGES"]


def test_what_is_needed_still_works_inside():
    script = """
import os, time, json, select
import numpy as np
from opticaldr.device import confinement
from opticaldr.device.ring import FrameRing
pipe, rng = os.dup(1), np.random.default_rng(0)
confinement.confine(FrameRing(4, (64, 64)), [pipe])
big = rng.normal(size=(1000, 1000)); product = float((big @ big.T).trace())
time.sleep(0.001); os.urandom(8); select.poll().poll(1)
os.write(pipe, json.dumps(product).encode()); os._exit(0)
"""
    assert json.loads(run_python(script)) == pytest.approx(1e6, rel=0.01)


class Bpf:
    """An interpreter for the few instructions that the filters use (linux/filter.h)."""

    def __init__(self, program):
        self.program = program

    def run(self, number: int, architecture: int, *arguments: int) -> int:
        words = {0: number, 4: architecture}
        for position, value in enumerate(arguments):
            words[16 + 8 * position] = value & 0xFFFFFFFF
        accumulator, at = 0, 0
        while True:
            code, if_true, if_false, constant = self.program[at]
            at += 1
            if code == 0x20:
                accumulator = words.get(constant, 0)
            elif code == 0x54:
                accumulator &= constant
            elif code == 0x06:
                return constant
            elif code in (0x15, 0x35):
                holds = accumulator == constant if code == 0x15 else accumulator >= constant
                at += if_true if holds else if_false
            else:
                raise AssertionError(f"unknown instruction {code:#x}")


ALLOW, DENY, KILL = 0x7FFF0000, 0x00050001, 0x80000000


@pytest.mark.parametrize(
    ("machine", "column", "architecture"), [("x86_64", 0, 0xC000003E), ("aarch64", 1, 0xC00000B7)]
)
def test_the_filter_allows_its_table_and_nothing_else(machine, column, architecture):
    run = Bpf(seccomp.program([7, 9], machine=machine)).run
    table = {numbers[column] for numbers in seccomp.ALWAYS.values()}
    write, mmap, mprotect, ioctl = ((1, 64), (9, 222), (10, 226), (16, 29))
    partly = {call[column] for call in (write, mmap, mprotect)}
    for number in range(600):
        expected = ALLOW if number in table else DENY
        if number not in partly:
            assert run(number, architecture) == expected, number
    assert [run(write[column], architecture, fd) for fd in (0, 2, 7, 8, 9)] == [
        DENY,
        DENY,
        ALLOW,
        DENY,
        ALLOW,
    ]
    for call in (mmap, mprotect):
        assert run(call[column], architecture, 0, 4096, 3) == ALLOW
        assert run(call[column], architecture, 0, 4096, 7) == DENY
    assert run(write[column] | 0x40000000, architecture, 7) == DENY
    assert run(0, 0x40000003) == KILL  # i386 calls have other numbers
    with_camera = Bpf(seccomp.program([7], ["v4l2"], machine=machine)).run
    assert with_camera(ioctl[column], architecture, 3, 0xC0585611) == ALLOW  # VIDIOC_DQBUF
    assert with_camera(ioctl[column], architecture, 3, 0x5412) == DENY  # TIOCSTI
    assert run(ioctl[column], architecture, 3, 0xC0585611) == DENY
    with_board = Bpf(seccomp.program([7], ["serial"], machine=machine)).run
    assert with_board(ioctl[column], architecture, 3, 0x541B) == ALLOW  # FIONREAD
    assert with_board(ioctl[column], architecture, 3, 0x5412) == DENY
    epoll_ctl = (233, 21)[column]
    assert run(epoll_ctl, architecture) == DENY
    on_a_pi = Bpf(seccomp.program([7], ["libcamera", "serial"], machine=machine)).run
    assert on_a_pi(epoll_ctl, architecture) == ALLOW
    for request in (0xC0585611, 0xC0347C00, 0x40086200, 0x541B):  # V4L2, media, DMA-buf, FIONREAD
        assert on_a_pi(ioctl[column], architecture, 3, request) == ALLOW


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table for this machine")
def test_the_table_is_that_of_the_kernel_headers():
    import shutil

    if shutil.which("gcc") is None:
        pytest.skip("no compiler to ask")
    headers = subprocess.run(
        ["gcc", "-E", "-dM", "-x", "c", "-"],
        input="#include <sys/syscall.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if headers.returncode:
        pytest.skip("no kernel headers")
    numbers = dict(line.split()[1:3] for line in headers.stdout.splitlines() if " __NR_" in line)
    column = ("x86_64", "aarch64").index(platform.machine())
    for name, known in seccomp.ALWAYS.items():
        if known[column] is not None:
            assert int(numbers[f"__NR_{name}"]) == known[column], name
