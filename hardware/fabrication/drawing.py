"""The drawing sheet: one page that goes to the fab with the files."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticaldr.hardware.fabrication.process import Export, Process, Wave
from opticaldr.hardware.fabrication.relief import LETTER_F, Fiducial, Relief

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#1a1a1a"
_THIN = "#7a7a7a"


@dataclass(frozen=True)
class Sheet:
    """What the sheet says.

    Args:
        process: with its settings.
        drawn: the relief as in the files.
        wave: the light it is made for.
        material: name of the relief's material.
        design: id of the design.
        exports: the files.
        checksums: SHA-256 (hex) by file name.
        broken: places that break a design rule, by rule.
    """

    process: Process
    drawn: Relief
    wave: Wave
    material: str
    design: str
    exports: list[Export]
    checksums: Mapping[str, str]
    broken: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Write the sheet as a one-page PDF, A4 landscape."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11.69, 8.27))
        frame = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        frame.set(xlim=(0, 297), ylim=(0, 210))
        frame.axis("off")
        frame.add_patch(_rectangle(8, 8, 281, 194, 1.4))
        self._plan(figure.add_axes((0.06, 0.47, 0.34, 0.45)))
        self._section(figure.add_axes((0.49, 0.57, 0.45, 0.32)))
        self._specification(frame)
        self._files(frame)
        self._title(frame)
        figure.savefig(
            path, format="pdf", metadata={"CreationDate": None, "Title": f"mask {self.design[:12]}"}
        )

    def _plan(self, axes: "Axes") -> None:
        """Looking at the relief: outline, clear aperture, orientation mark, dimensions."""
        from matplotlib.patches import Circle, Rectangle

        shape, size = self.process.outline(self.drawn)
        half, radius = size * 500, self.drawn.radius * 1e3
        patches: list[Any] = []
        if shape == "round":
            patches.append(Circle((0, 0), half, fill=False, lw=1.4, ec=_INK))
        else:
            patches.append(Rectangle((-half, -half), 2 * half, 2 * half, fill=False, lw=1.4, ec=_INK))
        if self.drawn.square:
            patches.append(Rectangle((-radius, -radius), 2 * radius, 2 * radius, fill=False, lw=1.0, ec=_INK))
        else:
            patches.append(Circle((0, 0), radius, fill=False, lw=1.0, ec=_INK))
        for patch in patches:
            axes.add_patch(patch)
        self._letter(axes)
        reach = 1.28 * half
        for line in (axes.axhline, axes.axvline):
            line(0, color=_THIN, lw=0.5, dashes=(12, 3, 2, 3))
        aperture = _diameter(self.drawn.square, 2 * radius, "clear aperture")
        outline = _diameter(shape == "square", 2 * half, "outline")
        _dimension(axes, -radius, radius, -1.09 * half, aperture, within=2 * half)
        _dimension(axes, -half, half, -1.24 * half, outline, within=2 * half)
        axes.set(xlim=(-reach, reach), ylim=(-reach, 1.1 * half), aspect="equal")
        axes.set_title(f"Plan, looking at the relief (from the {self.process.relief_faces})", fontsize=9)
        axes.annotate("X", (1.2 * half, 0), fontsize=8, ha="right", va="bottom", color=_THIN)
        axes.annotate("Y", (0.03 * half, 1.1 * half), fontsize=8, va="top", color=_THIN)
        for end, side in ((-reach, "right"), (reach, "left")):
            axes.annotate("A", (end, 0), fontsize=9, weight="bold", ha=side, va="center", color=_INK)
        axes.axis("off")

    def _letter(self, axes: "Axes") -> None:
        mark = Fiducial.beside(self.drawn)
        stroke = mark.cell * self.drawn.pitch * 1e3
        left = (mark.column - self.drawn.samples / 2) * self.drawn.pitch * 1e3
        top = (self.drawn.samples / 2 - mark.row) * self.drawn.pitch * 1e3
        height, width = LETTER_F.shape
        letter = LETTER_F[:, ::-1] if self.process.view.mirrored else LETTER_F
        left = -left - width * stroke if self.process.view.mirrored else left
        axes.imshow(
            np.ma.masked_equal(letter, 0),
            extent=(left, left + width * stroke, top - height * stroke, top),
            cmap="gray",
            vmin=0,
            vmax=2,
            interpolation="nearest",
        )

    def _section(self, axes: "Axes") -> None:
        """Section along X through the optical axis, in micrometres."""
        seen = np.asarray(self.process.view.seen(self.drawn.height))
        row = seen[self.drawn.samples // 2] * 1e6
        x = self.drawn.axis() * 1e6
        inside = np.abs(x) <= self.drawn.radius * 1e6
        axes.fill_between(x, row, row.min() - 0.25 * max(np.ptp(row), 0.1), step="mid", color="#dfe6ea", lw=0)
        axes.step(x, row, where="mid", color=_INK, lw=0.7)
        axes.set_title("Section A-A along X through the axis (heights not to scale)", fontsize=9)
        axes.set_xlabel("X / um", fontsize=8)
        axes.set_ylabel("height / um", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.margins(x=0.01)
        top, bottom = row[inside].max(), row[inside].min()
        for level in (bottom, top):
            axes.axhline(level, color=_THIN, lw=0.5)
        axes.annotate(
            f"{top - bottom:.4g} um in this section",
            (1.012, 0.5),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=7,
            rotation=90,
            va="center",
            annotation_clip=False,
        )

    def _specification(self, frame: "Axes") -> None:
        wave = self.wave
        rows = [
            ("material", self.material),
            ("index", f"{wave.index:.6f} at {wave.wavelength * 1e9:.1f} nm"),
            ("one wave of depth", f"{wave.depth * 1e6:.6f} um"),
            *self.process.specification(self.drawn, wave),
        ]
        _heading(frame, 14, 92, "Specification")
        for line, (name, value) in enumerate(rows):
            y = 87 - 4.2 * line
            frame.text(14, y, name, fontsize=7, color=_THIN)
            frame.text(62, y, value, fontsize=7, color=_INK)

    def _files(self, frame: "Axes") -> None:
        _heading(frame, 142, 100, "Files and SHA-256")
        for line, export in enumerate(self.exports):
            y = 95 - 8.4 * line
            frame.text(142, y, export.name, fontsize=7, weight="bold", color=_INK)
            frame.text(172, y, export.purpose, fontsize=7, color=_INK)
            frame.text(
                142, y - 3.6, self.checksums[export.name], fontsize=5.6, family="monospace", color=_INK
            )
        notes = [
            f"Relief on the side that faces the {self.process.relief_faces}; "
            f"all files look at the relief unless their sidecar says otherwise.",
            "Orientation mark: letter F, upright in the upper left corner. A part on which it is no F is mirrored.",
            "Heights rise out of the material. Every file has a sidecar (.json) that states unit, frame "
            "and scale.",
            *(
                [
                    f"Design rules are broken at {sum(self.broken.values())} places ({', '.join(self.broken)}): "
                    "see rules.csv."
                ]
                if self.broken
                else []
            ),
            *(["Masks are mirrored left to right in the files."] if self.process.view.mirrored else []),
        ]
        _heading(frame, 142, 53, "Notes")
        y = 49.5
        for number, note in enumerate(notes, start=1):
            wrapped = textwrap.wrap(f"{number}. {note}", 110)
            frame.text(142, y, "\n".join(wrapped), fontsize=6.5, va="top", color=_INK)
            y -= 3.2 * len(wrapped) + 0.6

    def _title(self, frame: "Axes") -> None:
        frame.add_patch(_rectangle(138, 8, 151, 20, 1.0))
        frame.plot((200, 200), (8, 28), color=_INK, lw=0.6)
        frame.text(141, 23, "PHASE MASK", fontsize=10, weight="bold", va="center", color=_INK)
        frame.text(141, 17, textwrap.fill(self.process.title, 44), fontsize=7, va="center", color=_INK)
        frame.text(
            141, 11, "dimensions as stated; drawing not to scale", fontsize=6.5, va="center", color=_THIN
        )
        frame.text(203, 23, "design", fontsize=6.5, va="center", color=_THIN)
        frame.text(203, 18.5, self.design[:32], fontsize=7, family="monospace", va="center", color=_INK)
        frame.text(203, 14.5, self.design[32:], fontsize=7, family="monospace", va="center", color=_INK)
        frame.text(203, 10.5, "OpticalDR, research use only", fontsize=6.5, va="center", color=_THIN)


def _rectangle(x: float, y: float, width: float, height: float, line: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, fill=False, lw=line, ec=_INK)


def _heading(frame: "Axes", x: float, y: float, text: str) -> None:
    frame.text(x, y, text, fontsize=9, weight="bold", color=_INK)


def _diameter(square: bool, size: float, what: str) -> str:
    return f"{what} {'' if square else 'Ø '}{size:.4f} mm" + (" sq." if square else "")


def _dimension(axes: "Axes", left: float, right: float, y: float, text: str, *, within: float) -> None:
    """An arrow with its text in its middle, or beside it where less than half of ``within`` is spanned."""
    axes.annotate("", (left, y), (right, y), arrowprops={"arrowstyle": "<->", "lw": 0.6, "color": _INK})
    beside = right - left < 0.5 * within
    axes.text(
        right if beside else 0,
        y,
        f" {text}" if beside else text,
        fontsize=7,
        ha="left" if beside else "center",
        va="center",
        color=_INK,
        bbox={"fc": "white", "ec": "none", "pad": 1.0},
    )
