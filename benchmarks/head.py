"""The exported graphs: latency, size, cold start and memory, beside the network without anything around it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.figure import Figure, main
from opticaldr.artefacts.graphs import as_taken
from opticaldr.models.export.bundle import camera_mode
from opticaldr.models.export.graphs import FrameGraph, HeadGraph, write_graph
from opticaldr.models.export.quantise import layers, write_int8
from opticaldr.models.networks import Compact, TemporalHead
from opticaldr.models.optics import preset

COLD = """
import re, sys, time
start = time.perf_counter()
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
frame, head = (onnxruntime.InferenceSession(path, options) for path in sys.argv[1:])
taken = frame.get_inputs()[0]
raw = np.zeros(taken.shape, taken.type.removeprefix("tensor(").removesuffix(")"))
window = np.zeros(head.get_inputs()[0].shape, np.float32)
window[:] = frame.run(["embedding"], {"raw": raw})[0]
head.run(None, {"window": window})
print(time.perf_counter() - start, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


SIZES = (64, 112, 224, 448)

WHY_BINNING = (
    "reading 1.6 MB and adding it up costs a third of so small a network, even as integers of 32 bits; "
    "an operator of our own, or binning in the sensor, would not"
)


class Alone(torch.nn.Module):
    """A network on superpixels that somebody else has made."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, superpixels: torch.Tensor) -> torch.Tensor:
        """``[3, y, x]`` to an embedding."""
        return self.network(superpixels[None])[0]


class Cast(torch.nn.Module):
    """Nothing but the reading of a frame as numbers that a processor calculates with, and the sum of its rows."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Digital numbers ``[y, x]`` to float32 sums ``[x]``."""
        return raw.to(torch.float32).sum(0)


class Inverted(torch.nn.Module):
    """Inverted residual with squeeze and excitation (Howard et al., Searching for MobileNetV3, ICCV 2019)."""

    def __init__(
        self, inputs: int, wide: int, outputs: int, kernel: int, stride: int, excite: bool, hard: bool
    ) -> None:
        super().__init__()
        act = torch.nn.Hardswish if hard else torch.nn.ReLU
        conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.same = stride == 1 and inputs == outputs
        self.wide = torch.nn.Sequential(conv(inputs, wide, 1, bias=False), norm(wide), act())
        self.depthwise = torch.nn.Sequential(
            conv(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), norm(wide), act()
        )
        squeezed = max(8, wide // 4)
        self.excite = (
            torch.nn.Sequential(
                torch.nn.AdaptiveAvgPool2d(1),
                conv(wide, squeezed, 1),
                torch.nn.ReLU(),
                conv(squeezed, wide, 1),
                torch.nn.Hardsigmoid(),
            )
            if excite
            else None
        )
        self.narrow = torch.nn.Sequential(conv(wide, outputs, 1, bias=False), norm(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[n, c, y, x] -> [n, c, y, x]``."""
        y = self.depthwise(self.wide(x))
        if self.excite is not None:
            y = y * self.excite(y)
        y = self.narrow(y)
        return x + y if self.same else y


def mobilenet() -> torch.nn.Module:
    """A network laid out as MobileNetV3-small (Table 2 of that paper) with 64 outputs: the peer."""
    table = [
        (16, 16, 16, 3, 2, True, False), (16, 72, 24, 3, 2, False, False), (24, 88, 24, 3, 1, False, False),
        (24, 96, 40, 5, 2, True, True), (40, 240, 40, 5, 1, True, True), (40, 240, 40, 5, 1, True, True),
        (40, 120, 48, 5, 1, True, True), (48, 144, 48, 5, 1, True, True), (48, 288, 96, 5, 2, True, True),
        (96, 576, 96, 5, 1, True, True), (96, 576, 96, 5, 1, True, True),
    ]  # fmt: skip
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(16),
        torch.nn.Hardswish(),
        *(Inverted(*row) for row in table),
        torch.nn.Conv2d(96, 576, 1, bias=False),
        torch.nn.BatchNorm2d(576),
        torch.nn.Hardswish(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(576, 64),
    ).eval()


def latencies(runs: dict[str, tuple[Path, np.ndarray]], threads: int, repeats: int = 120) -> dict[str, float]:
    """Median milliseconds of each graph; they take turns, so that a busy machine is busy for all."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {
        name: onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for name, (file, _) in runs.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: runs[name][1]})
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values[10:])) for name, values in times.items()}


def graphs(folder: Path, size: int) -> dict[str, tuple[Path, np.ndarray]]:
    """Fresh networks for frames of ``size`` superpixels a side, exported; each with an input."""
    clinic = preset("clinic").sensor
    sensor = clinic.model_copy(update={"shape": (clinic.binning * size, clinic.binning * size)})
    network = Compact(size=size).eval()
    rng = np.random.default_rng(0)
    raw = rng.integers(sensor.black_level, sensor.white_level + 1, sensor.shape, dtype=np.uint16)
    superpixels = rng.random((3, size, size), dtype=np.float32)
    files = {name: folder / f"{name}-{size}.onnx" for name in ("float32", "int8", "alone", "peer", "cast")}
    frame = FrameGraph(network, camera_mode(sensor)).eval()
    write_graph(frame, frame.example, files["float32"], "raw", ["embedding", "superpixels"], {})
    write_int8(files["float32"], files["int8"], [raw], layers(files["float32"]))
    for name, module in (("alone", network), ("peer", mobilenet())):
        example = torch.from_numpy(superpixels)
        write_graph(Alone(module).eval(), example, files[name], "superpixels", ["embedding"], {})
    write_graph(Cast(), torch.from_numpy(raw), files["cast"], "raw", ["corner"], {})
    taken = as_taken(raw, frame.binning.takes)
    fed = {"float32": taken, "int8": taken, "cast": raw, "alone": superpixels, "peer": superpixels}
    return {name: (file, fed[name]) for name, file in files.items()}


def figures() -> list[Figure]:
    """Export fresh networks at the clinic camera's format, and at others, and measure them."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        runs = {size: graphs(Path(folder), size) for size in SIZES}
        usual = runs[112]
        for threads in (1, 2):
            took = latencies(usual, threads)
            on = f"{threads} thread{'s' if threads > 1 else ''}"
            for name in ("float32", "int8"):
                measured += [
                    Figure(f"raw frame to embedding, {name}, {on}", took[name], "ms"),
                    Figure(
                        f"{name} over the float32 network alone, {on}",
                        took[name] / took["alone"],
                        "×",
                        1.1,
                        peer="network without pre-processing",
                        why_missed=WHY_BINNING,
                    ),
                    Figure(
                        f"{name} over a MobileNetV3-small-like network, {on}",
                        took[name] / took["peer"],
                        "×",
                        peer="MobileNetV3-small-like",
                    ),
                ]
            floor = took["cast"] / took["alone"]
            measured.append(
                Figure(f"reading the frame and adding its rows over the network alone, {on}", floor, "×")
            )
        for size in SIZES:
            took = latencies({name: runs[size][name] for name in ("float32", "int8")}, 1, repeats=30)
            for name, value in took.items():
                measured.append(
                    Figure(f"raw frame to embedding, {name}, {size} × {size}, 1 thread", value, "ms")
                )
        clip = Path(folder, "head.onnx")
        write_graph(
            HeadGraph(TemporalHead()).eval(), torch.zeros(12, 64), clip, "window", ["mean", "sigma"], {}
        )
        for name in ("float32", "int8"):
            file = usual[name][0]
            size_of = (file.stat().st_size + clip.stat().st_size) / 1024**2
            done = subprocess.run(
                [sys.executable, "-c", COLD, str(file), str(clip)], check=True, capture_output=True, text=True
            )
            start, memory = map(float, done.stdout.split())
            measured += [
                Figure(f"both graphs, {name}", size_of, "MiB"),
                Figure(f"cold start to first estimate, {name}", start, "s"),
                Figure(f"memory of a process that only runs them, {name}", memory, "MiB", 150),
            ]
    return measured


if __name__ == "__main__":
    main("head", figures)
