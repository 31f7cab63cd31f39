"""Grey to phase: how far each level of an SLM retards the light, and the level nearest to a wanted phase."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal

TURN = 2 * np.pi
_HEADER = ("wavelength_nm", "temperature_c", "serial")


@dataclass(frozen=True)
class Response:
    """The phase of every grey level at one wavelength.

    Args:
        phase: ``[level]`` radians, strictly rising or strictly falling.
        wavelength: metres.
        temperature: kelvin, if it was recorded.
        serial: of the SLM that was measured; empty for a nominal table.
    """

    phase: NDArray[np.float64]
    wavelength: float
    temperature: float | None = None
    serial: str = ""

    @classmethod
    def linear(cls, levels: int, wavelength: float, polarity: Literal[1, -1] = 1) -> "Response":
        """The nominal straight line 2π·g/levels: one level more would be level 0 again."""
        return cls(polarity * TURN * np.arange(levels) / levels, wavelength)

    def checked(self, levels: int, source: str = "the grey-to-phase table") -> "Response":
        """The table itself, if it serves a panel of ``levels`` grey levels.

        Raises:
            Refusal: another number of levels, not strictly monotonic, or it does not reach 2π; the message
                says the figure.
        """
        if len(self.phase) != levels:
            raise Refusal(
                f"{source} has {len(self.phase)} levels, the SLM takes {levels}",
                "measure the table at the SLM's bit depth",
            )
        steps = np.diff(self.phase)
        direction = np.sign(self.phase[-1] - self.phase[0])
        wrong = np.flatnonzero(steps * direction <= 0)
        if len(wrong):
            raise Refusal(
                f"{source} turns back between grey {wrong[0]} and {wrong[0] + 1}",
                "smooth the measurement, or unwrap its phase before writing it",
            )
        if self.reach < TURN * (1 - 1e-6):
            raise Refusal(
                f"{source} reaches {self.reach / np.pi:.3f} pi at {self.wavelength * 1e9:.0f} nm, not 2 pi",
                "raise the drive voltage or use a shorter wavelength",
            )
        return self

    @property
    def reach(self) -> float:
        """Phase at which the level after the last would stand, relative to level 0, radians."""
        span = abs(self.phase[-1] - self.phase[0])
        return float(span + abs(self.phase[-1] - self.phase[-2]))

    def greys(self, wanted: NDArray[np.float64]) -> NDArray[np.uint16]:
        """The level whose phase is nearest to ``wanted`` on the circle.

        Only levels within the first turn are used; what lies nearer to 2π than to the last of them is level
        0, so a level beyond the table never appears.
        """
        rising = np.abs(self.phase - self.phase[0])
        rising = rising[rising < TURN * (1 - 1e-9)]
        direction = 1.0 if self.phase[-1] > self.phase[0] else -1.0
        turned = direction * (wanted - self.phase[0])
        turned = turned - TURN * np.floor(turned * (1 / TURN))  # np.mod takes four times as long
        stops = np.append(rising, TURN)
        level = np.searchsorted((stops[1:] + stops[:-1]) / 2, turned, side="right")
        return np.where(level == len(rising), 0, level).astype(np.uint16)

    def phases(self, grey: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
        """Phase of every pixel of a frame, radians."""
        return np.asarray(self.phase[grey])

    def described(self) -> dict[str, Any]:
        """As written to JSON."""
        return {
            "wavelength_nm": self.wavelength * 1e9,
            "temperature_c": None if self.temperature is None else self.temperature - 273.15,
            "serial": self.serial,
            "gray": list(range(len(self.phase))),
            "phase_rad": self.phase.tolist(),
        }

    def write(self, path: Path) -> None:
        """Write ``.json``, or ``.csv`` with the conditions as comment lines above ``gray,phase_rad``."""
        content = self.described()
        if path.suffix == ".json":
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            return
        head = [f"# {name}={content[name]}" for name in _HEADER if content[name] not in (None, "")]
        rows = [f"{grey},{phase!r}" for grey, phase in enumerate(self.phase.tolist())]
        path.write_text("\n".join([*head, "gray,phase_rad", *rows]) + "\n", encoding="utf-8")


def read_response(path: Path) -> Response:
    """Read what `Response.write` wrote, or the same by hand: JSON or CSV, gray 0, 1, 2 … and phase_rad.

    Raises:
        Refusal: unreadable, no wavelength, or levels that do not count up from 0.
    """
    remedy = "write '# wavelength_nm=532' and then lines of 'gray,phase_rad', grey counting up from 0"
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else _parse_csv(text)
        grey = np.asarray(content["gray"], dtype=np.float64)
        phase = np.asarray(content["phase_rad"], dtype=np.float64)
        wavelength = float(content["wavelength_nm"]) * 1e-9
        celsius = content.get("temperature_c")
        temperature = None if celsius is None else float(celsius) + 273.15
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror})", "check the path") from None
    except KeyError as missing:
        raise Refusal(f"{path} does not state {missing.args[0]}", remedy) from None
    except (ValueError, TypeError):
        raise Refusal(f"{path} is not a grey-to-phase table", remedy) from None
    if grey.shape != phase.shape or len(grey) < 2 or np.any(grey != np.arange(len(grey))):
        raise Refusal(f"the grey levels in {path} do not count up from 0", remedy)
    return Response(phase, wavelength, temperature, str(content.get("serial") or ""))


def _parse_csv(text: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    rows: list[list[float]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            name, _, value = line.lstrip("# ").partition("=")
            content[name.strip()] = value.strip()
        elif line.replace(" ", "") != "gray,phase_rad":
            rows.append([float(cell) for cell in line.split(",")])
    table = np.array(rows)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError("two columns are needed")
    return {**content, "gray": table[:, 0], "phase_rad": table[:, 1]}
