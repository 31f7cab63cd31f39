"""Writing mask files against the libraries' own floor: ``python -m benchmarks.fabricate --json``."""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, main
from opticaldr.hardware.fabrication import layout, solid
from opticaldr.hardware.fabrication.multilevel import Multilevel
from opticaldr.hardware.fabrication.process import Wave
from opticaldr.hardware.fabrication.relief import Relief

WAVE = Wave(570e-9, 1.4915)


def freeform(samples: int) -> Relief:
    """A relief of twenty waves' depth over a 2.14 mm aperture: astigmatism, coma and trefoil on a bowl."""
    axis = (np.arange(samples) - (samples - 1) / 2) / (samples / 2)
    x, y = axis[np.newaxis, :], axis[:, np.newaxis]
    square = x * x + y * y
    height = 6e-6 * square + 3e-6 * (3 * square - 2) * y + 2e-6 * (x**3 - 3 * x * y * y) + 1.5e-6 * x * y
    return Relief(height, 2.142857e-3 / samples, 2.142857e-3 / 2)


def timed(work: Callable[[], object], rounds: int = 7) -> float:
    """Median of some runs, seconds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def layout_against_gdstk(folder: Path) -> list[Figure]:
    """GDS of 1024² × 16 levels: run-merging and writing, over gdstk building and writing the same rectangles."""
    import gdstk

    process = Multilevel(levels=16, pixel=17e-6)
    drawn = process.drawn(freeform(1024), WAVE)
    layers = list(process.layers(drawn, WAVE))
    count = sum(len(layer.rectangles) for layer in layers)

    def ours() -> None:
        layout.write_gds(folder / "ours.gds", process.layers(drawn, WAVE), "MASK")

    def with_gdstk() -> gdstk.Library:
        library = gdstk.Library()
        cell = library.new_cell("MASK")
        for layer in layers:
            for left, bottom, right, top in (layer.rectangles * 1e-3).tolist():
                cell.add(gdstk.rectangle((left, bottom), (right, top), layer=layer.number))
        library.write_gds(str(folder / "theirs.gds"))
        return library

    library = with_gdstk()
    mine, theirs = timed(ours), timed(with_gdstk, 3)
    writing = timed(lambda: library.write_gds(str(folder / "theirs.gds")))
    return [
        Figure("rectangles in a GDS of 1024^2 x 16 levels", count, "1"),
        Figure("GDS 1024^2 x 16: over building and writing them", mine / theirs, "x", 1.5, peer="gdstk"),
        Figure("GDS 1024^2 x 16: over writing what is built", mine / writing, "x", peer="gdstk"),
    ]


def stl_against_numpy(folder: Path) -> list[Figure]:
    """STL of 1024² over a NumPy structured-array write of as many triangles."""
    relief = freeform(1024)
    plate = solid.Plate.around(relief.height, relief.pitch, base=1e-3, outline="round", size=4e-3)
    rng = np.random.default_rng(0)
    normals = rng.random((plate.triangles, 3), dtype=np.float32)
    corners = rng.random((plate.triangles, 3, 3), dtype=np.float32)

    def floor() -> None:
        facets = np.zeros(plate.triangles, dtype=solid.FACET)
        facets["normal"], facets["corners"] = normals, corners
        facets.tofile(folder / "floor.stl")

    pairs = [
        (timed(lambda: solid.write_stl(folder / "ours.stl", plate, "unit=mm"), 1), timed(floor, 1))
        for _ in range(11)
    ]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    return [Figure("STL 1024^2: over a structured-array write", ratio, "x", 1.5, peer="numpy")]


def peak(samples: int, what: str) -> float:
    """Peak memory in GiB of a fresh process that draws and writes one file."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.fabricate", "--peak", what, str(samples)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout)


def measure_peak(what: str, samples: int) -> float:
    """Do the work here; returns this process's peak memory in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        relief = freeform(samples)
        if what == "gds":
            process = Multilevel(levels=16, pixel=17e-6)
            drawn = process.drawn(relief, WAVE)
            del relief
            layout.write_gds(Path(folder) / "mask.gds", process.layers(drawn, WAVE), "MASK")
        elif what == "stl":
            plate = solid.Plate.around(relief.height, relief.pitch, base=1e-3, outline="round", size=4e-3)
            solid.write_stl(Path(folder) / "mask.stl", plate, "unit=mm")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def figures() -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = layout_against_gdstk(Path(folder)) + stl_against_numpy(Path(folder))
    mask = 4096**2 * 8 / 2**30
    needed = (peak(4096, "stl") - peak(64, "nothing")) / mask
    return [
        *found,
        Figure("GDS 4096^2 x 16 levels: peak memory", peak(4096, "gds"), "GiB", 2.0),
        Figure("STL 4096^2: memory over the mask's own", needed, "x", 10.0),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(measure_peak(sys.argv[2], int(sys.argv[3])))
    else:
        main("fabricate", figures)
