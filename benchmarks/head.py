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
from opticaldr.models.export.bundle import camera_mode
from opticaldr.models.export.graphs import FrameGraph, HeadGraph, write_graph
from opticaldr.models.networks import Compact, TemporalHead
from opticaldr.models.optics import preset

COLD = """
import re, sys, time
start = time.perf_counter()
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
frame, head = (onnxruntime.InferenceSession(path, options) for path in sys.argv[1:])
raw = np.zeros(frame.get_inputs()[0].shape, np.uint16)
window = np.zeros(head.get_inputs()[0].shape, np.float32)
window[:] = frame.run(["embedding"], {"raw": raw})[0]
head.run(None, {"window": window})
print(time.perf_counter() - start, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


class Alone(torch.nn.Module):
    """The network on superpixels that somebody else has made."""

    def __init__(self, network: Compact) -> None:
        super().__init__()
        self.network = network

    def forward(self, superpixels: torch.Tensor) -> torch.Tensor:
        """``[3, y, x]`` to an embedding."""
        return self.network(superpixels[None])[0]


def latencies(runs: dict[str, tuple[Path, np.ndarray]], threads: int, repeats: int = 200) -> dict[str, float]:
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


def figures() -> list[Figure]:
    """Export fresh networks at the clinic camera's format and measure them."""
    sensor = preset("clinic").sensor
    camera = camera_mode(sensor)
    network, head = Compact(size=sensor.binned_shape[0]).eval(), TemporalHead().eval()
    raw = np.random.default_rng(0).integers(0, 1024, sensor.shape, dtype=np.uint16)
    superpixels = np.random.default_rng(0).random((3, *sensor.binned_shape), dtype=np.float32)
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        frame, clip, alone = (Path(folder, name) for name in ("frame.onnx", "head.onnx", "alone.onnx"))
        outputs = ["embedding", "superpixels"]
        write_graph(FrameGraph(network, camera).eval(), torch.from_numpy(raw), frame, "raw", outputs, {})
        write_graph(HeadGraph(head).eval(), torch.zeros(12, 64), clip, "window", ["mean", "sigma"], {})
        write_graph(
            Alone(network).eval(), torch.from_numpy(superpixels), alone, "superpixels", ["embedding"], {}
        )
        for threads in (1, 2):
            took = latencies({"frame": (frame, raw), "alone": (alone, superpixels)}, threads)
            peer = "network without pre-processing"
            label = f"{threads} thread{'s' if threads > 1 else ''}"
            measured.append(Figure(f"raw frame to embedding, {label}", took["frame"], "ms", peer=peer))
            measured.append(
                Figure(
                    f"the same over the network alone, {label}",
                    took["frame"] / took["alone"],
                    "×",
                    1.1,
                    peer=peer,
                )
            )
        size = (frame.stat().st_size + clip.stat().st_size) / 1024**2
        done = subprocess.run(
            [sys.executable, "-c", COLD, str(frame), str(clip)], check=True, capture_output=True, text=True
        )
        start, memory = map(float, done.stdout.split())
    return [
        *measured,
        Figure("both graphs", size, "MiB"),
        Figure("cold start to first estimate", start, "s"),
        Figure("memory of a process that only runs them", memory, "MiB", 150),
    ]


if __name__ == "__main__":
    main("head", figures)
