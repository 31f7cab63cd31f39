"""The two real processes: what they say, what they refuse, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from device_bundle import SIDE, WINDOW, make_bundle

from opticaldr.artefacts import create_key, load_key, load_public_key
from opticaldr.artefacts.bundle import verify_bundle
from opticaldr.device import voice
from opticaldr.device.audit import read_log, verify_log
from opticaldr.device.confinement import EVERY, Protection
from opticaldr.device.estimator import Estimator
from opticaldr.device.hearing import Hearing
from opticaldr.device.landlock import interface_version
from opticaldr.device.records import BadRecord, Event, Kind, Record
from opticaldr.device.rig import open_rig
from opticaldr.device.run import run
from opticaldr.errors import Refusal

pytestmark = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")


def kinds(out: Path) -> list[str]:
    return [entry["kind"] for entry in read_log(out / "audit.ndjson")]


def voice_process(bundle: Path, out: Path, before: str = "", **options) -> subprocess.Popen:
    script = (
        f"import json, sys; from pathlib import Path; from opticaldr.device.run import run\n{before}\n"
        f"print(json.dumps(run(Path({str(bundle)!r}), out=Path({str(out)!r}), **{options!r})))"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def wait_for(out: Path, kind: str) -> None:
    for _ in range(600):
        if (out / "audit.ndjson").exists() and kind in kinds(out):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {kind} in the log")


def eye_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (eye,) = [int(c) for c in children if b"device.eye" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return eye


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_estimates_come_out_and_are_those_of_the_graphs(bundle, tmp_path, maker_key):
    frames = 3 * WINDOW
    summary = run(
        bundle, out=tmp_path / "out", frames=frames, interval=1, seed=4, trust=Path(f"{maker_key}.pub")
    )
    assert summary["passed"]
    assert summary["frames"] == frames
    assert summary["dropped"] == 0
    assert summary["signer"]["trusted"]
    assert len(summary["protections"]) == len(Protection)
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]

    artefact, spec = verify_bundle(bundle, load_public_key(Path(f"{maker_key}.pub")))
    estimator = Estimator(artefact, spec)
    with (
        open_rig(artefact, spec, "simulated", "simulated:0", seed=4) as rig,
        rig.camera as camera,
        rig.board as board,
    ):
        board.shutter(True)
        camera.capture()  # the blank one
        for estimate in summary["estimates"]:
            for row in estimator.window:
                row[:] = estimator.understand(camera.capture().raw)[0]
            assert estimate["estimate"] == pytest.approx(estimator.estimate(estimator.window)[0], abs=0.051)
    assert len(summary["estimates"]) == 3

    log, key = tmp_path / "out" / "audit.ndjson", load_public_key(tmp_path / "out" / "device.key.pub")
    assert verify_log(log, key).head == summary["audit"]["head"]
    delivered = [
        json.loads(line) for line in (tmp_path / "out" / "estimates.ndjson").read_text().splitlines()
    ]
    assert [entry["body"] for entry in delivered] == summary["estimates"]


@pytest.mark.proves("EYE-4")
def test_without_the_mask_no_estimate_is_ever_said(bundle, tmp_path):
    summary = run(bundle, out=tmp_path, frames=100, interval=1, unmask_at=WINDOW - 2)
    assert not summary["passed"]
    assert summary["interlock"] == "optics not in place"
    assert summary["estimates"] == []
    assert summary["frames"] == WINDOW  # within two frames
    assert summary["dropped"] == 2
    assert kinds(tmp_path) == ["opened", "started", "hello", "event", "farewell", "ended"]


def test_a_run_continues_the_log_and_key_of_the_folder(bundle, tmp_path):
    first = run(bundle, out=tmp_path, frames=1)
    second = run(bundle, out=tmp_path, frames=1)
    assert second["audit"]["entries"] == first["audit"]["entries"] + 4
    verify_log(
        tmp_path / "audit.ndjson", load_public_key(tmp_path / "device.key.pub"), head=first["audit"]["head"]
    )


def test_the_end_of_the_source_is_a_good_end(bundle, tmp_path):
    import cv2

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(pictures / f"{number}.png"), rng.integers(0, 255, (90, 120, 3), np.uint8))
    summary = run(bundle, out=tmp_path / "out", source=str(pictures))
    assert summary["passed"]
    assert summary["frames"] == 5


def test_a_video_is_played_by_a_process_that_can_open_no_file(bundle, tmp_path):
    import cv2

    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (160, 120))
    noise = np.random.default_rng(0).integers(0, 255, (12, 120, 160, 3), np.uint8)
    for picture in noise:
        writer.write(picture)
    writer.release()
    summary = run(bundle, out=tmp_path / "out", source=str(path))
    assert summary["frames"] == 12
    assert len(summary["protections"]) == len(Protection)


def test_ctrl_c_ends_both_with_a_summary(bundle, tmp_path):
    process = voice_process(bundle, tmp_path, interval=1)
    wait_for(tmp_path, "estimate")
    eye = eye_of(process.pid)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    summary = json.loads(output)
    assert summary["passed"]
    assert summary["frames"] >= WINDOW
    assert gone(eye)
    assert kinds(tmp_path)[-2:] == ["farewell", "ended"]


def test_eye_ends_when_voice_is_killed(bundle, tmp_path):
    process = voice_process(bundle, tmp_path)
    wait_for(tmp_path, "hello")
    eye = eye_of(process.pid)
    process.kill()
    process.communicate()
    for _ in range(100):
        if gone(eye):
            break
        time.sleep(0.05)
    assert gone(eye)
    verify_log(tmp_path / "audit.ndjson", load_public_key(tmp_path / "device.key.pub"))


def test_voice_reports_that_eye_was_killed(bundle, tmp_path):
    process = voice_process(bundle, tmp_path)
    wait_for(tmp_path, "hello")
    os.kill(eye_of(process.pid), signal.SIGKILL)
    summary = json.loads(process.communicate(timeout=20)[0])
    assert not summary["passed"]
    assert summary["eye"]["exit_code"] == -signal.SIGKILL
    assert not summary["eye"]["said_farewell"]
    ended = list(read_log(tmp_path / "audit.ndjson"))[-1]
    assert ended["kind"] == "ended"
    assert ended["body"]["eye_exit_code"] == -signal.SIGKILL


@pytest.mark.proves("VOICE-4")
def test_voice_survives_a_full_disk_and_says_what_was_not_logged(bundle, tmp_path):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2400, 2400))"
    process = voice_process(bundle, tmp_path, full, frames=4 * WINDOW, interval=1)
    summary = json.loads(process.communicate(timeout=120)[0])
    logged = [entry for entry in read_log(tmp_path / "audit.ndjson") if entry["kind"] == "estimate"]
    assert summary["not_logged"] > 0
    assert len(summary["estimates"]) == len(logged) < 4
    assert not summary["passed"]
    verify_log(tmp_path / "audit.ndjson", load_public_key(tmp_path / "device.key.pub"))


def test_eye_writes_nothing_anywhere_and_reports_to_nobody(bundle, tmp_path, monkeypatch):
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    for variable in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home))
    run(bundle, out=out, frames=WINDOW, interval=1)
    assert list(home.rglob("*")) == []
    assert {p.name for p in out.iterdir()} == {
        "audit.ndjson",
        "device.key",
        "device.key.pub",
        "estimates.ndjson",
        "ndjson.cursor.json",
    }


@pytest.mark.proves("EYE-2")
def test_no_frame_reaches_the_memory_of_voice_or_a_file(bundle, tmp_path, maker_key):
    artefact, spec = verify_bundle(bundle, load_public_key(Path(f"{maker_key}.pub")))
    with (
        open_rig(artefact, spec, "simulated", "simulated:0", seed=9) as rig,
        rig.camera as camera,
        rig.board as board,
    ):
        board.shutter(True)
        camera.capture()
        frames = [camera.capture().raw for _ in range(WINDOW)]
    marks = [frame[SIDE // 2, 100:140].tobytes() for frame in frames[WINDOW - 4 : WINDOW]]
    process = voice_process(bundle, tmp_path, interval=1, seed=9)
    wait_for(tmp_path, "estimate")
    assert holds(os.getpid(), marks)  # the search finds what is there
    assert not holds(process.pid, marks)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written
    assert not any(mark in written for mark in marks)


def holds(pid: int, marks: list[bytes]) -> bool:
    """Whether any of the marks is in the writable memory of a process."""
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for extent, mode, *_ in maps:
            low, high = (int(part, 16) for part in extent.split("-"))
            if mode.startswith("rw"):
                try:
                    memory.seek(low)
                    content = memory.read(high - low)
                except (OSError, OverflowError):
                    continue
                if any(mark in content for mark in marks):
                    return True
    return False


def test_neither_process_needs_torch(bundle, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    for name in ("torch", "lightning_fabric", "safetensors", "onnx", "sklearn"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ImportError('{name} is not installed here')")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    process = voice_process(bundle, tmp_path / "out", frames=WINDOW, interval=1)
    assert json.loads(process.communicate(timeout=60)[0])["passed"]


def refused(match: str, bundle: Path, out: Path, **options) -> None:
    with pytest.raises(Refusal, match=match):
        run(bundle, out=out, frames=1, **options)


def test_what_is_refused_at_start(bundle, tmp_path):
    create_key(tmp_path / "stranger")
    refused("not signed with this key", bundle, tmp_path / "a", trust=tmp_path / "stranger.pub")
    refused("imx999 cannot be read", bundle, tmp_path / "b", rig="imx999")
    refused("is missing", bundle, tmp_path / "c", source=str(tmp_path / "nothing.mp4"))
    refused("names no subject", bundle, tmp_path / "d", source="simulated:everybody")
    (tmp_path / "text.mp4").write_text("not a film")
    refused("not a video", bundle, tmp_path / "e", source=str(tmp_path / "text.mp4"))
    refused("no bundle", tmp_path / "no bundle", tmp_path / "f")


def test_a_camera_in_another_mode_is_refused(tmp_path, key: Ed25519PrivateKey):
    mode = {"rows": SIDE, "columns": SIDE, "bayer": "BGGR", "bits": 10, "black_level": 60, "binning": 8}
    other = make_bundle(tmp_path / "b", key, camera=mode | {"white_level": 1023})
    refused("another mode", other, tmp_path / "out")


def test_a_graph_that_is_not_what_the_bundle_says_is_refused(tmp_path, key: Ed25519PrivateKey):
    other = make_bundle(tmp_path / "b", key, embedding=99)
    refused("graphs|numbers instead of", other, tmp_path / "out")


HOSTILE = (
    """
import json, os, sys, time
from opticaldr.device.hearing import Hearing
from opticaldr.device.records import BadRecord, Event, Kind, Quality, Record
orders = json.loads(sys.argv[1]); pipe, session = orders["pipe"], bytes.fromhex(orders["session"])
say = lambda sequence, kind=Kind.ESTIMATE, **f: os.write(pipe, Record(kind=kind, session=session,
sequence=sequence,
    **({"estimate": 1.0, "sigma": 1.0} if kind is Kind.ESTIMATE else {}), **f).pack())
"""
    + f"hello = lambda mask={int(EVERY)}: say(0, Kind.HELLO, protections=mask)\n"
)


@pytest.mark.proves("EYE-3")
@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (
            "os.write(pipe, os.urandom(64)); os.write(pipe, b'x' * 4096); os.write(pipe, b'y')",
            "checksum",
        ),
        ("hello(); [say(7) for _ in range(3)]", "not the next one"),
        ("hello(); [say(n) for n in range(1, 20)]", "faster than agreed"),
        ("hello(); [say(n, moment=100 * n) for n in range(1, 4)]", "moment is not now"),
        ("hello(); session = bytes(16); [say(n) for n in range(1, 4)]", "another session"),
        ("[say(n) for n in range(3)]", "does not belong here"),
        ("hello(); [say(n, Kind.EVENT, event=Event.FAILED) for n in range(1, 9)]", "does not belong here"),
        ("hello(); [say(n, Kind.FAREWELL, frames=n) for n in range(1, 9)]", "does not belong here"),
        ("hello(mask=1)", "could not protect itself"),
    ],
)
def test_an_eye_that_breaks_the_rules_is_stopped(bundle, tmp_path, monkeypatch, behaviour, why):
    monkeypatch.setattr(voice, "EYE", (sys.executable, "-c", f"{HOSTILE}{behaviour}\ntime.sleep(60)"))
    summary = run(bundle, out=tmp_path)
    assert not summary["passed"]
    assert summary["eye"]["suspicion"]
    reasons = [e["body"]["why"] for e in read_log(tmp_path / "audit.ndjson") if "why" in e["body"]]
    assert why in reasons[0]
    assert "suspicion" in kinds(tmp_path)
    verify_log(tmp_path / "audit.ndjson", load_key(tmp_path / "device.key").public_key())


def test_development_mode_marks_every_record(bundle, tmp_path):
    summary = run(bundle, out=tmp_path, frames=WINDOW, interval=1, development=True)
    assert "seccomp" not in summary["protections"]  # standard error stays open for the developer
    assert "landlock" in summary["protections"]
    said = [e for e in read_log(tmp_path / "audit.ndjson") if e["kind"] in ("hello", "estimate", "farewell")]
    assert len(said) == 3
    assert all("unprotected" in entry["body"]["quality"] for entry in said)


@pytest.mark.proves("VOICE-4")
def test_a_clock_that_is_set_meanwhile_is_entered_and_stops_nothing(bundle, tmp_path, monkeypatch):
    real, began = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() - (3600 if time.monotonic() > began + 1 else 0))
    summary = run(bundle, out=tmp_path, seconds=3, interval=1)
    assert summary["passed"]
    (jump,) = [e["body"]["seconds"] for e in read_log(tmp_path / "audit.ndjson") if e["kind"] == "clock set"]
    assert jump == pytest.approx(-3600, abs=1)
    assert kinds(tmp_path).index("clock set") < kinds(tmp_path).index("farewell")
    assert "estimate" in kinds(tmp_path)
    verify_log(tmp_path / "audit.ndjson", load_public_key(tmp_path / "device.key.pub"))


def hearing(interval=10.0):
    ears = Hearing(bytes(16), interval)
    ears.accept(Record(kind=Kind.HELLO, session=bytes(16), sequence=0).pack(), 100.0)
    return ears


def test_a_record_that_waited_in_the_pipe_is_taken():
    ears = hearing()
    ears.silence(110.0)
    late = Record(kind=Kind.EVENT, session=bytes(16), sequence=1, event=Event.OPTICS_IN_DOUBT, moment=12)
    assert ears.accept(late.pack(), 160.0) == late


def test_nothing_is_heard_after_the_farewell():
    ears = hearing()
    ears.accept(Record(kind=Kind.FAREWELL, session=bytes(16), sequence=1).pack(), 100.0)
    with pytest.raises(BadRecord, match="does not belong"):
        ears.accept(Record(kind=Kind.FAREWELL, session=bytes(16), sequence=2).pack(), 100.0)


@pytest.mark.proves("VOICE-1")
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_either_process_may_be_killed_at_any_moment(bundle, tmp_path):
    rng = np.random.default_rng(2)
    for number in range(200):
        process = voice_process(bundle, tmp_path, interval=1, seed=number)
        time.sleep(float(rng.uniform(0.3, 4.0)))
        victim = process.pid
        if rng.random() < 0.5:
            with contextlib.suppress(ValueError):  # voice may not have started it yet
                victim = eye_of(process.pid)
        os.kill(victim, signal.SIGKILL)
        process.communicate(timeout=60)
    run(bundle, out=tmp_path, frames=1)
    verify_log(tmp_path / "audit.ndjson", load_public_key(tmp_path / "device.key.pub"))
    logged = [e["hash"] for e in read_log(tmp_path / "audit.ndjson") if e["kind"] in ("estimate", "event")]
    delivered = [
        json.loads(line)["hash"] for line in (tmp_path / "estimates.ndjson").read_bytes().splitlines()
    ]
    assert delivered == logged
    assert logged
