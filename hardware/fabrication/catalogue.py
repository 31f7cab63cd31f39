"""All processes by the name they have on the command line."""

from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.grayscale import Grayscale
from opticaldr.hardware.fabrication.multilevel import Multilevel
from opticaldr.hardware.fabrication.process import Process
from opticaldr.hardware.fabrication.refractive import Refractive
from opticaldr.hardware.fabrication.replica import Replica
from opticaldr.hardware.fabrication.two_photon import TwoPhoton

PROCESSES: dict[str, type[Process]] = {
    process.name: process for process in (Refractive, Grayscale, Multilevel, TwoPhoton, Replica)
}


def process_class(name: str) -> type[Process]:
    """The process of that name; `Refusal` lists the names there are."""
    if name not in PROCESSES:
        raise Refusal(f"there is no process called {name}", f"choose one of {', '.join([*PROCESSES, 'slm'])}")
    return PROCESSES[name]
