"""What comes back by itself does; what needs a person waits for one. Raw recordings play in place of a camera."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from device_bundle import SIDE, WINDOW, small_clinic
from test_run import eye_of, kinds, voice_process, wait_for

from opticaldr.artefacts import load_public_key
from opticaldr.artefacts.bundle import verify_bundle
from opticaldr.cli import main
from opticaldr.device.audit import read_log, verify_log
from opticaldr.device.confinement import EVERY
from opticaldr.device.landlock import interface_version
from opticaldr.device.orders import OK, TRIPPED
from opticaldr.device.perseverance import rearm
from opticaldr.device.records import Event, Quality
from opticaldr.device.rig import open_rig
from opticaldr.device.run import run
from opticaldr.device.voice import MOST_ESTIMATES, Session
from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.recording import record

pytestmark = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")

UNPLUGGED = """
import sys
from contextlib import contextmanager
from pathlib import Path
from opticaldr.device import eye, rig
from opticaldr.hardware.cameras.errors import CameraLost, NoCamera

cable = Path({cable!r})

@contextmanager
def open_rig(*arguments, _open=rig.open_rig, **options):
    "The simulated rig on a cable: there while the file is, gone after 20 frames the first time."
    if not cable.exists():
        raise NoCamera("there is no camera", "plug it in")
    first = cable.read_text() == "loose"
    with _open(*arguments, **options) as opened:
        capture, count = opened.camera.capture, iter(range(10**9))
        def once_more():
            if first and next(count) > 20:
                raise CameraLost("the camera went away", "plug it in")
            return capture()
        opened.camera.capture = once_more
        yield opened

eye.open_rig = open_rig
sys.exit(eye.main(sys.argv[1:]))
"""


def wait_until(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_camera_that_was_unplugged_is_used_again_once_it_is_back(bundle, tmp_path):
    cable, out = tmp_path / "cable", tmp_path / "out"
    cable.write_text("loose")
    script = UNPLUGGED.format(cable=str(cable))
    loose = f"from opticaldr.device import voice; voice.EYE = (sys.executable, '-c', {script!r})"
    process = voice_process(bundle, out, loose, interval=1)
    wait_for(out, "event")
    cable.unlink()
    wait_until(lambda: kinds(out).count("started") == 2)
    time.sleep(1.0)
    cable.write_text("tight")
    wait_until(lambda: kinds(out).count("hello") == 2)
    before = kinds(out).count("estimate")
    wait_until(lambda: kinds(out).count("estimate") > before)
    process.send_signal(signal.SIGINT)
    summary = json.loads(process.communicate(timeout=20)[0])
    assert summary["passed"]
    assert len(summary["estimates"]) == kinds(out).count("estimate")
    (event,) = [
        entry["body"]["event"] for entry in read_log(out / "audit.ndjson") if entry["kind"] == "event"
    ]
    assert event == "camera silent"
    verify_log(out / "audit.ndjson", load_public_key(out / "device.key.pub"))


def test_an_eye_that_hangs_is_ended_by_the_kernel_and_started_again(bundle, tmp_path):
    process = voice_process(bundle, tmp_path, interval=1)
    wait_for(tmp_path, "hello")
    hung = eye_of(process.pid)
    os.kill(hung, signal.SIGALRM)
    wait_until(lambda: kinds(tmp_path).count("hello") == 2)
    assert eye_of(process.pid) != hung
    process.send_signal(signal.SIGINT)
    assert json.loads(process.communicate(timeout=20)[0])["passed"]


@pytest.mark.proves("EYE-6")
def test_a_closed_interlock_stays_closed_until_somebody_arms_it(bundle, tmp_path):
    assert not run(bundle, out=tmp_path, frames=30, interval=1, unmask_at=5)["passed"]
    with pytest.raises(
        Refusal, match=r"interlock closed at .*: optics not in place; look at the camera, then: opt"
    ):
        run(bundle, out=tmp_path, frames=5)
    rearm(tmp_path)
    assert run(bundle, out=tmp_path, frames=5)["passed"]
    with pytest.raises(Refusal, match="is not closed"):
        rearm(tmp_path)
    assert kinds(tmp_path).count("rearmed") == 1


def test_rearm_is_a_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["opticaldr", "rearm", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 1
    assert "there is no audit log" in capsys.readouterr().err


@pytest.fixture
def recording(bundle, maker_key, tmp_path):
    """Raw frames of the simulated rig, recorded as a camera's are."""
    artefact, spec = verify_bundle(bundle, load_public_key(Path(f"{maker_key}.pub")))
    with (
        open_rig(artefact, spec, "simulated", "simulated:0") as rig,
        rig.camera as camera,
        rig.board as board,
    ):
        board.shutter(True)
        camera.capture()
        record(camera, tmp_path / "recording", WINDOW + 2)
    return tmp_path / "recording"


def test_a_recording_plays_in_place_of_a_camera(bundle, recording, tmp_path):
    summary = run(bundle, out=tmp_path / "out", source=f"replay:{recording}", interval=1)
    assert summary["passed"]
    assert summary["frames"] == WINDOW + 2
    (estimate,) = summary["estimates"]
    assert Quality.SIMULATED.name.lower() in estimate["quality"]
    rig = tmp_path / "rig.toml"
    rig.write_text('[camera]\ndriver = "replay"\nsource = "recording"\n')
    assert (
        run(bundle, out=tmp_path / "again", rig=str(rig), interval=1)["estimates"][0]["estimate"]
        == estimate["estimate"]
    )


def test_pictures_are_not_raw_frames(bundle, tmp_path):
    import cv2

    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "1.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(Refusal, match="another mode"):
        run(bundle, out=tmp_path / "out", source=f"replay:{tmp_path / 'pictures'}")
    assert small_clinic().sensor.bits != 8


def test_a_real_camera_that_is_not_there_is_refused(bundle, tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text('[camera]\ndriver = "opencv"\ndevice = "/dev/video97"\n')
    with pytest.raises(Refusal, match="there is no /dev/video97"):
        run(bundle, out=tmp_path / "out", rig=str(rig))


def test_what_went_wrong_earlier_is_not_forgotten():
    bad = Session(records=9, refused=3, lost=3, frames=20, dropped=2, exit_code=OK, suspicion="bad records")
    good = Session(records=4, refused=1, lost=1, frames=30, dropped=1, exit_code=OK, suspicion="again")
    whole = good.after(bad)
    assert (whole.records, whole.refused, whole.lost) == (13, 4, 4)
    assert (whole.frames, whole.dropped) == (50, 3)
    assert whole.suspicion == "bad records"
    assert good.suspicion == "again"


def test_an_opening_in_which_eye_said_nothing_leaves_what_it_said_before():
    tripped = Session(records=5, exit_code=TRIPPED, event=Event.OPTICS_NOT_IN_PLACE, protections=EVERY)
    whole = Session(exit_code=-signal.SIGTERM, lost=1, stopped=True).after(tripped)
    assert (whole.exit_code, whole.event, whole.protections) == (TRIPPED, Event.OPTICS_NOT_IN_PLACE, EVERY)
    assert (whole.lost, whole.stopped) == (1, True)
    refused = Session(exit_code=OK, not_started="the camera is in another mode")
    assert Session(exit_code=OK).after(refused).not_started
    assert not Session(exit_code=OK, records=3).after(refused).not_started


def test_what_is_remembered_for_the_summary_is_bounded():
    earlier, later = Session(estimated=MOST_ESTIMATES), Session(estimated=2)
    earlier.estimates.extend({"number": number} for number in range(MOST_ESTIMATES))
    later.estimates.extend({"number": MOST_ESTIMATES + number} for number in range(2))
    whole = later.after(earlier)
    assert whole.estimated == MOST_ESTIMATES + 2
    assert len(whole.estimates) == MOST_ESTIMATES
    assert whole.estimates[0]["number"] == 2
    assert whole.estimates[-1]["number"] == MOST_ESTIMATES + 1
