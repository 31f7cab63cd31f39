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
