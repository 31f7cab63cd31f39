"""One look for every report: a self-contained HTML page, light and dark, printable, readable aloud."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Report:
    """A page built top to bottom; nothing in it refers to anything outside the file.

    Args:
        title: heading of the page.
        lead: one or two sentences below it that say what the reader sees.
    """

    title: str
    lead: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def section(self, heading: str) -> "Report":
        """Start a section."""
        self.blocks.append({"kind": "section", "heading": heading})
        return self

    def text(self, paragraph: str) -> "Report":
        """Add a paragraph of plain text."""
        self.blocks.append({"kind": "text", "text": paragraph})
        return self

    def verdict(self, passed: bool, sentence: str) -> "Report":
        """Add a sentence that is marked as passed or failed (by a word, not by colour alone)."""
        self.blocks.append({"kind": "verdict", "passed": passed, "text": sentence})
        return self

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> "Report":
        """Add a table; floats are shown with four significant digits."""
        cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        self.blocks.append({"kind": "table", "columns": list(columns), "rows": cells, "caption": caption})
        return self

    def figure(self, figure: "Figure", caption: str, alt: str) -> "Report":
        """Add a matplotlib figure as PNG; ``alt`` says in words what it shows."""
        stream = io.BytesIO()
        figure.savefig(
            stream, format="png", dpi=144, bbox_inches="tight", facecolor="white", metadata={"Software": None}
        )
        return self._picture(stream.getvalue(), caption, alt)

    def image(self, pixels: Any, caption: str, alt: str) -> "Report":
        """Add an image, uint8 ``[y, x]`` or ``[y, x, 3]`` (RGB, sRGB-encoded), shown pixel for pixel."""
        import cv2
        import numpy as np

        array = np.asarray(pixels)
        encoded, png = cv2.imencode(".png", array[..., ::-1] if array.ndim == 3 else array)
        if not encoded:
            raise ValueError("the image could not be encoded as PNG")
        return self._picture(png.tobytes(), caption, alt)

    def _picture(self, png: bytes, caption: str, alt: str) -> "Report":
        data = base64.b64encode(png).decode()
        self.blocks.append({"kind": "picture", "data": data, "caption": caption, "alt": alt})
        return self

    def write(self, path: Path) -> None:
        """Write the page to ``path`` (UTF-8)."""
        from jinja2 import Environment, StrictUndefined

        source = files("opticaldr.artefacts").joinpath("report.html").read_text(encoding="utf-8")
        template = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page = template.from_string(source).render(title=self.title, lead=self.lead, blocks=self.blocks)
        path.write_text(page, encoding="utf-8")
