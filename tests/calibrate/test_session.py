import fcntl

import numpy as np
import pytest

from opticaldr.calibration.session import Session
from opticaldr.errors import Refusal


@pytest.mark.proves("CALIBRATION-3")
def test_what_was_measured_is_never_measured_again(tmp_path):
    calls = []

    def measurement():
        calls.append(1)
        return {"light": np.arange(5.0)}

    for _ in range(2):
        with Session(tmp_path, {"seed": 1}) as session:
            found = session.measure("spot", measurement)
        assert np.array_equal(found["light"], np.arange(5.0))
    assert len(calls) == 1


def test_an_interrupted_measurement_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with Session(tmp_path, {}) as session, pytest.raises(KeyboardInterrupt):
        session.measure("spot", interrupted)
    assert not session.finished("spot")
    assert not tmp_path.exists()


def test_a_write_that_dies_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "savez", lambda stream, **_: (stream.write(b"half"), 1 / 0))
    with Session(tmp_path, {}) as session, pytest.raises(ZeroDivisionError):
        session.measure("spot", lambda: {"light": np.zeros(3)})
    assert not tmp_path.exists()


def test_another_design_rig_or_plan_is_refused(tmp_path):
    with Session(tmp_path, {"design": "a"}) as session:
        session.measure("spot", lambda: {"light": np.zeros(3)})
    with pytest.raises(Refusal, match="another design"), Session(tmp_path, {"design": "b"}):
        pass


def test_a_damaged_measurement_is_named(tmp_path):
    with Session(tmp_path, {}) as session:
        session.measure("spot", lambda: {"light": np.zeros(3)})
        (tmp_path / "spot.npz").write_bytes(b"PK not a zip")
        with pytest.raises(Refusal, match=r"spot\.npz"):
            session.measure("spot", lambda: {})


def test_a_folder_without_measurements_takes_another_session(tmp_path):
    with Session(tmp_path, {"seed": 1}):
        pass
    with Session(tmp_path, {"seed": 2}) as other:
        other.measure("spot", lambda: {"light": np.zeros(3)})
    with Session(tmp_path, {"seed": 2}) as again:
        assert again.finished("spot")


def test_one_session_at_a_time_works_in_a_folder(tmp_path):
    with (
        Session(tmp_path, {"seed": 1}),
        pytest.raises(Refusal, match="another calibration is at work"),
        Session(tmp_path, {"seed": 2}),
    ):
        pass
    with Session(tmp_path, {"seed": 2}):  # once the other is gone
        pass


def test_once_sealed_only_what_the_session_wrote_is_removed(tmp_path):
    (tmp_path / "notes.txt").write_text("the bench of Tuesday")
    (tmp_path / "mine.npz").write_bytes(b"of somebody else")
    for _ in range(2):  # measured, interrupted, and gone on with
        with Session(tmp_path, {}) as session:
            session.measure("spot", lambda: {"light": np.zeros(3)})
            session.beside("chart.png").write_bytes(b"a picture")
    (tmp_path / ".spot.npz.4711").write_bytes(b"half, from a killed process")
    with Session(tmp_path, {}) as session:
        session.measure("spot", lambda: {})
        session.beside("chart.png")
        session.sealed()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.npz", "notes.txt"]


def test_once_sealed_a_folder_of_the_session_alone_is_gone(tmp_path):
    with Session(tmp_path / "work", {}) as session:
        session.measure("spot", lambda: {"light": np.zeros(3)})
        session.sealed()
    assert not (tmp_path / "work").exists()


def test_a_folder_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    folder, lock, removed = tmp_path / "work", fcntl.flock, []

    def just_too_late(descriptor, how):
        if not removed:
            removed.append(True)
            folder.rmdir()  # by a session that ended between open and flock
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", just_too_late)
    with Session(folder, {}) as session:
        session.measure("spot", lambda: {"light": np.zeros(3)})
        with pytest.raises(Refusal, match="another calibration is at work"), Session(folder, {}):
            pass
    assert (folder / "spot.npz").exists()


def test_what_a_session_removes_it_removes_while_it_holds_the_folder(tmp_path, monkeypatch):
    folder, rmdir = tmp_path / "work", type(tmp_path).rmdir

    def while_somebody_waits(path):
        with pytest.raises(Refusal, match="another calibration is at work"), Session(folder, {}):
            pass
        rmdir(path)

    with Session(folder, {}) as session:
        session.measure("spot", lambda: {"light": np.zeros(3)})
        session.sealed()
        monkeypatch.setattr(type(folder), "rmdir", while_somebody_waits)
    assert not folder.exists()
