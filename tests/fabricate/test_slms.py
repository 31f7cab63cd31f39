"""SLM figures, grey-to-phase tables, and displays: the window against a screenshot of a real X display."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opticaldr.artefacts import Artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication import fabricate
from opticaldr.hardware.slms import (
    FileDisplay,
    NullDisplay,
    Panel,
    Response,
    WindowDisplay,
    panel,
    panels,
    read_response,
)
from opticaldr.hardware.slms.panel import FIGURES

SMALL = panel("generic").model_copy(update={"columns": 320, "rows": 240})


def test_every_figure_of_every_preset_has_a_source() -> None:
    asked_for = {
        "pluto-2-1",
        "leto-3",
        "gaea-2",
        "slm-200",
        "slm-210",
        "x15213",
        "meadowlark-1920",
        "generic",
    }
    assert asked_for <= set(panels())
    for one in panels().values():
        assert all(one.sources[figure] for figure in FIGURES)


def test_a_figure_without_a_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "mine"\ncolumns = 800\nrows = 600\npitch = 1e-5\nfill_factor = 0.9\nbits = 8\n'
        '[sources]\ncolumns = "sheet"\nrows = "sheet"\npitch = "sheet"\nbits = "sheet"\n'
    )
    with pytest.raises(Refusal, match=r"no source for \['fill_factor'\]"):
        panel(str(path))


@given(st.floats(-50, 50), st.sampled_from([256, 1024, 200]), st.sampled_from([1, -1]))
def test_nearest_grey_is_within_half_a_step_and_never_beyond_the_last(
    phase: float, levels: int, polarity: int
) -> None:
    response = Response.linear(levels, 532e-9, 1 if polarity == 1 else -1)
    grey = response.greys(np.array([phase]))
    assert grey[0] < levels
    error = np.angle(np.exp(1j * (response.phases(grey)[0] - phase)))
    assert abs(error) <= np.pi / levels * (1 + 1e-6)


def test_just_below_two_pi_is_black_not_level_n() -> None:
    response = Response.linear(256, 532e-9)
    almost = 2 * np.pi * (1 - 0.3 / 256)
    assert response.greys(np.array([almost, 0.0, -1e-12])).tolist() == [0, 0, 0]
    assert np.rint(almost / (2 * np.pi) * 256) == 256  # what plain rounding would have sent


def test_phase_zero_is_black_and_more_phase_is_brighter() -> None:
    grey = Response.linear(256, 532e-9).greys(np.array([0.0, np.pi / 2, np.pi, 1.5 * np.pi]))
    assert grey.tolist() == [0, 64, 128, 192]
    inverted = Response.linear(256, 532e-9, -1).greys(np.array([0.0, np.pi / 2, np.pi, 1.5 * np.pi]))
    assert inverted.tolist() == [0, 192, 128, 64]


def test_a_curved_table_that_overshoots_two_pi_uses_only_its_first_turn() -> None:
    levels = np.arange(256) / 255
    response = Response(2.4 * np.pi * levels**1.6, 532e-9).checked(256)
    wanted = np.linspace(-9, 9, 4001)
    grey = response.greys(wanted)
    assert response.phase[grey.max()] < 2 * np.pi
    steps = np.diff(response.phase)
    error = np.angle(np.exp(1j * (response.phases(grey) - wanted)))
    assert np.abs(error).max() <= steps.max() / 2 + 1e-9


@pytest.mark.parametrize(
    ("phase", "wrong"),
    [
        (np.linspace(0, 1.8 * np.pi, 256), r"reaches 1\.807 pi at 532 nm, not 2 pi"),
        (np.r_[np.linspace(0, 3, 128), np.linspace(2.9, 7, 128)], "turns back between grey 127 and 128"),
        (np.linspace(0, 2 * np.pi, 200), "has 200 levels, the SLM takes 256"),
    ],
)
def test_an_unusable_table_is_refused_with_the_figure(phase: np.ndarray, wrong: str) -> None:
    with pytest.raises(Refusal, match=wrong):
        Response(phase, 532e-9).checked(256)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_table_comes_back_from_its_file(tmp_path: Path, suffix: str) -> None:
    written = Response(np.linspace(0.2, 7.1, 256), 532e-9, 300.15, "SN 42")
    written.write(tmp_path / f"lut{suffix}")
    read = read_response(tmp_path / f"lut{suffix}")
    np.testing.assert_array_equal(read.phase, written.phase)
    assert read.wavelength == pytest.approx(532e-9)
    assert (read.temperature, read.serial) == (pytest.approx(300.15), "SN 42")


def test_a_table_without_its_wavelength_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lut.csv").write_text("gray,phase_rad\n0,0\n1,3\n2,6\n")
    with pytest.raises(Refusal, match="does not state wavelength_nm"):
        read_response(tmp_path / "lut.csv")


def ramp(one: Panel) -> np.ndarray:
    """A frame in which every row, column and level differs."""
    rows, columns = np.indices(one.shape)
    return ((7 * rows + 3 * columns) % one.levels).astype(np.uint16)


def test_file_display_writes_every_level_exactly(tmp_path: Path) -> None:
    deep = SMALL.model_copy(update={"bits": 10})
    with FileDisplay(deep, tmp_path) as display:
        display.show(ramp(deep))
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "frame-0001.png"), cv2.IMREAD_UNCHANGED), ramp(deep)
    )


def test_null_display_remembers(tmp_path: Path) -> None:
    with NullDisplay(SMALL) as display:
        display.show(ramp(SMALL))
        assert display.last is not None
        np.testing.assert_array_equal(display.last, ramp(SMALL))


def test_a_frame_of_the_wrong_size_or_depth_is_refused() -> None:
    with NullDisplay(SMALL) as display:
        with pytest.raises(Refusal, match=r"the frame is 240 x 320, .* is 320 x 240"):
            display.show(ramp(SMALL).T)
        with pytest.raises(Refusal, match="grey 256 is beyond the 256 levels"):
            display.show(np.full(SMALL.shape, 256, np.uint16))


@pytest.fixture
def x_display() -> Iterator[str]:
    """A real X server whose only monitor is 320 x 240."""
    pytest.importorskip("pygame")
    if sys.platform != "linux" or not shutil.which("Xvfb") or not shutil.which("xwd"):
        pytest.skip("needs Xvfb and xwd (Debian packages xvfb, x11-apps)")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "320x240x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


SHOWING = """
import sys, time
import numpy as np
from opticaldr.hardware.slms import WindowDisplay, panel
small = panel("generic").model_copy(update={"columns": 320, "rows": 240})
frame = np.load(sys.argv[1])
with WindowDisplay(small, sys.argv[2]) as display:
    display.show(frame)
    print("shown", flush=True)
    sys.stdin.readline()
"""


def screenshot(display: str) -> np.ndarray:
    """RGB pixels of the root window, read from xwd's own format (version 7, 32 bits a pixel)."""
    dump = subprocess.run(
        ["xwd", "-root", "-silent", "-display", display], capture_output=True, check=True
    ).stdout
    header = np.frombuffer(dump, ">u4", 25)
    size, width, height, bits, stride, colours = (int(header[k]) for k in (0, 4, 5, 11, 12, 19))
    assert bits == 32
    pixels = np.frombuffer(dump, np.uint8, offset=size + 12 * colours).reshape(height, stride)
    return pixels[:, : 4 * width].reshape(height, width, 4)[:, :, 2::-1]


def test_the_window_is_the_frame_grey_for_grey(x_display: str, tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", ramp(SMALL))
    child = subprocess.Popen(
        [sys.executable, "-c", SHOWING, str(tmp_path / "frame.npy"), "0"],
        env={**os.environ, "DISPLAY": x_display, "SDL_VIDEODRIVER": "x11"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "shown\n"
        expected = np.repeat(ramp(SMALL)[:, :, None], 3, axis=2)
        for _ in range(50):
            seen = screenshot(x_display)
            if np.array_equal(seen, expected):
                break
            time.sleep(0.05)
        np.testing.assert_array_equal(seen, expected)
    finally:
        child.communicate("\n", timeout=20)


def test_a_monitor_of_another_resolution_is_refused(x_display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", x_display)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    with (
        pytest.raises(Refusal, match=r"monitor 0 is 320 x 240, .* is 1920 x 1080"),
        WindowDisplay(panel("generic"), 0),
    ):
        pass
    with pytest.raises(Refusal, match="0 monitors answer to 'HDMI-7'"), WindowDisplay(SMALL, "HDMI-7"):
        pass


def test_a_pattern_is_shown_on_the_panel_that_it_was_made_for(
    x_display: str, design: Artefact, tmp_path: Path
) -> None:
    own = tmp_path / "small.toml"
    sources = ", ".join(f'{figure} = "made up"' for figure in FIGURES)
    figures = "columns = 320\nrows = 240\npitch = 10e-6\nfill_factor = 0.9\nbits = 8"
    own.write_text(f'title = "small"\n{figures}\nsources = {{ {sources} }}\n')
    pattern = fabricate(design, "slm", tmp_path / "pattern", settings={"slm": str(own)})
    command = [sys.executable, "-m", "opticaldr.cli.main", "slm", "show", str(pattern.path), "--monitor", "0"]
    seeing = {**os.environ, "DISPLAY": x_display, "SDL_VIDEODRIVER": "x11"}
    done = subprocess.run(command, env=seeing, input="\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "shown; press Enter to end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_there_is_no_monitor_and_no_window() -> None:
    """SDL would fall back to a screen of 1024 x 768 that exists in memory only."""
    bare = {
        name: text
        for name, text in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    }
    command = [sys.executable, "-m", "opticaldr.cli.main", "slm", "monitors"]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("opticaldr: no screen can be opened")
    assert done.stderr.count("\n") == 1


def test_the_monitors_are_listed_without_a_banner(x_display: str) -> None:
    command = [sys.executable, "-m", "opticaldr.cli.main", "slm", "monitors"]
    seeing = {**os.environ, "DISPLAY": x_display, "SDL_VIDEODRIVER": "x11"}
    done = subprocess.run(command, env=seeing, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("320 x 240\n")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_ten_bit_panel_is_not_shown_on_a_monitor() -> None:
    with pytest.raises(Refusal, match="takes 10 bits, a window sends 8"), WindowDisplay(panel("slm-200"), 0):
        pass
