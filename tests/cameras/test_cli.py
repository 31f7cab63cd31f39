import json
import sys

import pytest

from opticaldr.cli import main
from opticaldr.hardware.cameras import finding


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """`run("camera", …)` gives exit code, stdout and stderr, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finding, "VIDEO_CLASS", tmp_path / "none")
    monkeypatch.delenv("OPTICALDR_CAMERA", raising=False)

    def of(*words):
        monkeypatch.setattr(sys, "argv", ["opticaldr", *words])
        with pytest.raises(SystemExit) as end:
            main.main()
        return end.value.code, *capsys.readouterr()

    return of


def test_what_is_snapped_can_be_asked_and_snapped_again_byte_for_byte(run, tmp_path):
    code, out, err = run("camera", "snap", "--count", "2", "--exposure", "0.002", "--out", "a", "--json")
    assert code == 0
    assert json.loads(out)["frames"] == 2
    assert "what the lens images" in err
    code, out, _ = run("camera", "info", "--camera", "a", "--exposure", "0.002", "--json")
    said = json.loads(out)
    assert (code, said["shape"], said["exposure"], said["linear"]) == (0, [896, 896], 0.002, True)
    run("camera", "snap", "--camera", "a", "--count", "2", "--exposure", "0.002", "--out", "b")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "frame-00000.npy", "frame-00001.npy", "recording.json",
    ]  # fmt: skip
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_find_ends_with_1_when_there_is_no_camera(run):
    code, out, err = run("camera", "find")
    assert (code, out) == (1, "")
    assert "no camera found" in err
    code, out, _ = run("camera", "find", "--json")
    assert (code, json.loads(out)) == (1, {"cameras": []})


@pytest.mark.proves("USER-1")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("info", "--camera", "daguerreotype"), "there is no camera daguerreotype"),
        (("info", "--camera", "opencv:/dev/video93"), "there is no /dev/video93"),
        (("info", "--camera", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("snap", "--exposure", "11", "--out", "a"), "out of range"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(run, tmp_path, words, said):
    code, out, err = run("camera", *words)
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
