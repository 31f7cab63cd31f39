"""Showing frames: into files, nowhere, or pixel for pixel on the monitor that is the SLM."""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.hardware.slms.panel import Panel

Frame = NDArray[np.unsignedinteger]


class Display(Protocol):
    """Something frames can be shown on; opened and closed by a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, frame: Frame) -> None:
        """Show grey levels ``[row, column]`` of the panel's shape; returns once they are visible."""
        ...


class _Checked:
    """What all displays share: they take frames of their panel's shape and levels, and close when told to."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to release."""

    def checked(self, frame: Frame) -> Frame:
        """``frame`` itself; `Refusal` if it is not one for this panel."""
        if frame.shape != self.panel.shape:
            rows, columns = frame.shape[:2]
            raise Refusal(
                f"the frame is {columns} x {rows}, {self.panel.title} is {self.panel.columns} x "
                f"{self.panel.rows}",
                "make the pattern for this SLM",
            )
        if frame.max(initial=0) >= self.panel.levels:
            raise Refusal(
                f"grey {frame.max()} is beyond the {self.panel.levels} levels of {self.panel.title}",
                "make the pattern for this SLM",
            )
        return frame


class NullDisplay(_Checked):
    """Shows nothing and remembers the last frame."""

    last: Frame | None = None

    def show(self, frame: Frame) -> None:
        """Remember the frame."""
        self.last = self.checked(frame).copy()


class FileDisplay(_Checked):
    """Writes ``frame-0001.png`` and so on into a folder: 8 bit, or 16 bit for deeper panels."""

    def __init__(self, panel: Panel, folder: Path) -> None:
        super().__init__(panel)
        self.folder = folder
        self.count = 0

    def show(self, frame: Frame) -> None:
        """Write the next file."""
        from PIL import Image

        deep = np.uint8 if self.panel.bits <= 8 else np.uint16
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count += 1
        Image.fromarray(self.checked(frame).astype(deep)).save(self.folder / f"frame-{self.count:04d}.png")


class WindowDisplay(_Checked):
    """A borderless window that covers one monitor, unscaled, without gamma, synchronised to its refresh.

    Args:
        panel: the SLM, which must be an 8-bit one: monitors are sent 8 bits a colour.
        monitor: its number from 0, its name as the system reports it, or a part of that name.

    Source: SDL 2 by way of pygame-ce.
    """

    def __init__(self, panel: Panel, monitor: str | int = 0) -> None:
        super().__init__(panel)
        self.monitor = monitor
        self._screen: Any = None

    def __enter__(self) -> Self:
        if self.panel.bits > 8:
            raise Refusal(
                f"{self.panel.title} takes {self.panel.bits} bits, a window sends 8",
                "use the file display and the maker's own tool",
            )
        _open_screens()
        import pygame

        try:
            number = self._number(pygame.display.get_desktop_sizes())
            size = (self.panel.columns, self.panel.rows)
            self._screen = pygame.display.set_mode(
                size, pygame.NOFRAME | pygame.FULLSCREEN, depth=32, display=number, vsync=1
            )
            pygame.display.set_caption("OpticalDR SLM")
            pygame.mouse.set_visible(False)
            pygame.display.set_allow_screensaver(False)
        except BaseException:
            pygame.display.quit()
            raise
        return self

    def _number(self, sizes: list[tuple[int, int]]) -> int:
        names = list(monitor_names(len(sizes)))
        wanted = str(self.monitor)
        listed = ", ".join(
            f"{k} ({name or 'unnamed'}, {w} x {h})"
            for k, (name, (w, h)) in enumerate(zip(names, sizes, strict=True))
        )
        fitting = [k for k, name in enumerate(names) if wanted == str(k) or (wanted and wanted in name)]
        if len(fitting) != 1:
            raise Refusal(f"{len(fitting)} monitors answer to {wanted!r}", f"choose one of {listed}")
        size = sizes[fitting[0]]
        if size != (self.panel.columns, self.panel.rows):
            raise Refusal(
                f"monitor {wanted} is {size[0]} x {size[1]}, {self.panel.title} is {self.panel.columns} x "
                f"{self.panel.rows}",
                f"set its resolution in the system, without scaling, or choose one of {listed}",
            )
        return fitting[0]

    def show(self, frame: Frame) -> None:
        """Show the frame; red, green and blue all carry the grey level."""
        import pygame

        if self._screen is None:
            raise RuntimeError("the display is opened by a with block")
        grey = self.checked(frame).astype(np.uint32)
        pygame.surfarray.blit_array(self._screen, (grey * 0x010101).T)
        pygame.display.flip()
        for _ in range(3):
            pygame.event.pump()
            time.sleep(0.005)

    def close(self) -> None:
        """Give the monitor back."""
        import pygame

        self._screen = None
        pygame.display.quit()


def monitors() -> list[tuple[str, tuple[int, int]]]:
    """Name (empty where the system does not tell), columns and rows of every monitor.

    Raises:
        Refusal: this machine, or this login, drives none.
    """
    _open_screens()
    import pygame

    try:
        sizes = pygame.display.get_desktop_sizes()
        return list(zip(monitor_names(len(sizes)), sizes, strict=True))
    finally:
        pygame.display.quit()


def _open_screens() -> None:
    """Start SDL on real screens: left to itself it would take one that exists in memory only."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_VIDEO_MINIMIZE_ON_FOCUS_LOSS", "0")
    if sys.platform == "linux":
        wayland = ",wayland" if "WAYLAND_DISPLAY" in os.environ else ""
        os.environ.setdefault("SDL_VIDEODRIVER", f"x11{wayland},kmsdrm")
    import pygame

    try:
        pygame.display.init()
    except pygame.error as error:
        raise Refusal(
            f"no screen can be opened ({error})", "log in to the desktop that drives the SLM, or set DISPLAY"
        ) from None


def monitor_names(count: int) -> Iterator[str]:
    """Names of the monitors as SDL reports them; empty where the library does not tell."""
    sdl = _sdl()
    for number in range(count):
        name = sdl.SDL_GetDisplayName(number) if sdl is not None else None
        yield name.decode("utf-8", "replace") if name else ""


def _sdl() -> Any:
    """The SDL library that pygame-ce has loaded, for the one call it does not wrap."""
    import pygame

    package = Path(pygame.__file__).parent
    for pattern in ("../pygame_ce.libs/libSDL2-2*", "SDL2.dll", ".dylibs/libSDL2-2*"):
        for path in (
            package.glob(pattern) if not pattern.startswith("..") else package.parent.glob(pattern[3:])
        ):
            library = ctypes.CDLL(str(path))
            library.SDL_GetDisplayName.restype = ctypes.c_char_p
            return library
    return None
