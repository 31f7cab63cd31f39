"""From a phase profile to what a fab can make and an SLM can show, and back from the fab's measurement.

mask = fabricate(design, "multilevel", Path("mask"), settings={"levels": 16})
built = inspect_surface(mask, Path("measured.x3p"))

A process is a class with its settings as fields (`PROCESSES`): `drawn` is the relief as its files describe
it, `write` writes them, `made` is what leaves the machine.
"""

from opticaldr.hardware.fabrication.catalogue import PROCESSES, process_class
from opticaldr.hardware.fabrication.inspection import inspect_surface
from opticaldr.hardware.fabrication.order import fabricate
from opticaldr.hardware.fabrication.pattern import SlmPattern
from opticaldr.hardware.fabrication.process import Export, Process, Violation, Wave
from opticaldr.hardware.fabrication.relief import Relief, View

__all__ = [
    "PROCESSES",
    "Export",
    "Process",
    "Relief",
    "SlmPattern",
    "View",
    "Violation",
    "Wave",
    "fabricate",
    "inspect_surface",
    "process_class",
]
