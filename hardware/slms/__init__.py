"""Spatial light modulators: their figures, their grey-to-phase response, and showing frames on them."""

from opticaldr.hardware.slms.display import Display, FileDisplay, NullDisplay, WindowDisplay, monitors
from opticaldr.hardware.slms.panel import Panel, panel, panels
from opticaldr.hardware.slms.response import Response, read_response

__all__ = [
    "Display",
    "FileDisplay",
    "NullDisplay",
    "Panel",
    "Response",
    "WindowDisplay",
    "monitors",
    "panel",
    "panels",
    "read_response",
]
