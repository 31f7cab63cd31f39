"""Do the exported graphs give what the networks give? Measured on the calibrated camera's raw frames."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.artefacts.bundle import FRAME_GRAPH, HEAD_GRAPH, INT8_GRAPH
from opticaldr.artefacts.graphs import as_taken
from opticaldr.models.export.captured import CapturedClip
from opticaldr.models.networks import FactorScale, TemporalHead
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.optics import SensorSpec

FRAMES = 1000
"""Captured frames that graphs are compared on, at the least."""

TOLERANCE = 0.01
"""Largest difference of an estimate, BDI points, of the float32 graphs."""

MAE_CHANGE, FIT_LOSS = 0.2, 0.01
"""How far INT8 may change the mean absolute error (BDI points) and lower the mean R² of the factors."""

THREADS = 1e-3
"""Largest difference of an embedding between one and two threads, in units of its largest number."""


@dataclass
class Judged:
    """Estimates and factors of one frame graph over all clips, for its error against the truth."""

    estimates: list[float] = field(default_factory=list)
    factors: list[NDArray[np.float32]] = field(default_factory=list)

    def figures(self, scores: NDArray[np.float64], truth: NDArray[np.float32]) -> tuple[float, float]:
        """Mean absolute error in points, and mean R² of the factors."""
        read = np.concatenate(self.factors)
        unexplained = np.square(read - truth).mean(0) / np.maximum(truth.var(0), 1e-6)
        return float(np.abs(np.array(self.estimates) - scores).mean()), float(1 - unexplained.mean())


def measure_parity(
    folder: Path,
    networks: tuple[FrameNetwork, TemporalHead, FactorScale],
    clips: Iterable[CapturedClip],
    total: int,
    sensor: SensorSpec,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Run the same raw frames through the graphs (onnxruntime) and the networks (torch, NumPy before it).

    Args:
        folder: holds the graphs, that in INT8 only if there is one.
        networks: what they were made from, in evaluation mode.
        clips: captured.
        total: how many there are.
        sensor: their sensor.
        progress: called as ``progress("parity", done, total)``.

    Returns:
        Number of frames and windows, the largest differences of superpixels, embeddings, estimate and
        sigma, the largest difference between one and two threads of the runtime, and under ``int8`` error and
        fit of both precisions on the clips' truth.
    """
    network, head, scale = networks
    runs = {threads: Runner(folder, threads) for threads in (1, 2)}
    small = Runner(folder, 1, INT8_GRAPH) if (folder / INT8_GRAPH).exists() else None
    worst = {"superpixels": 0.0, "embedding": 0.0, "estimate": 0.0, "sigma": 0.0, "threads": 0.0}
    judged = {"float32": Judged(), "int8": Judged()}
    scores, truths, frames = [], [], 0

    def compare(what: str, one: Any, other: Any) -> None:
        worst[what] = max(worst[what], float(np.abs(np.asarray(one) - np.asarray(other)).max()))

    def judge(precision: str, window: NDArray[np.float32]) -> tuple[float, float]:
        mean, sigma = runs[1].head(window)
        judged[precision].estimates.append(mean)
        with torch.no_grad():
            judged[precision].factors.append(network.factors(torch.from_numpy(window)).numpy())
        return mean, sigma

    for clip in clips:
        graph: list[NDArray[np.float32]] = []
        torch_side: list[NDArray[np.float32]] = []
        for raw in clip.raw:
            embedding, superpixels = runs[1].frame(raw)
            again, _ = runs[2].frame(raw)
            expected = bin_raw(raw, sensor)
            with torch.no_grad():
                reference = network(torch.from_numpy(expected)[None])[0].numpy()
            compare("superpixels", superpixels, expected)
            compare("embedding", embedding, reference)
            largest = max(float(np.abs(embedding).max()), 1e-6)
            compare("threads", embedding / largest, again / largest)
            graph.append(embedding)
            torch_side.append(reference)
        mean, sigma = judge("float32", np.stack(graph))
        if small is not None:
            judge("int8", np.stack([small.frame(raw)[0] for raw in clip.raw]))
        with torch.no_grad():
            expected_mean, expected_sigma = head(torch.from_numpy(np.stack(torch_side))[None])
        compare("estimate", mean, expected_mean.numpy())
        compare("sigma", sigma, expected_sigma.numpy())
        scores.append(clip.score)
        seen = np.stack([clip.factors[name] for name in scale.names], axis=1)
        truths.append(scale.standardise(torch.from_numpy(seen).float()).numpy())
        frames += len(clip.raw)
        progress("parity", len(scores), total)
    result: dict[str, Any] = {
        "frames": frames,
        "windows": len(scores),
        **{f"worst_{name}_difference": value for name, value in worst.items()},
    }
    if small is not None:
        figures = {name: judged[name].figures(np.array(scores), np.concatenate(truths)) for name in judged}
        (mae, fit), (mae_int8, fit_int8) = figures["float32"], figures["int8"]
        result["int8"] = {
            "mae_float32": mae,
            "mae": mae_int8,
            "fit_float32": fit,
            "fit": fit_int8,
            "passed": abs(mae_int8 - mae) <= MAE_CHANGE and fit - fit_int8 <= FIT_LOSS,
        }
    return result


def bin_raw(raw: NDArray[np.uint16], sensor: SensorSpec) -> NDArray[np.float32]:
    """Superpixels ``[3, y, x]`` of a raw frame, written independently of the graph."""
    rows, columns = sensor.binned_shape
    size = sensor.binning
    light = (raw.astype(np.float64) - sensor.black_level) / (sensor.white_level - sensor.black_level)
    blocks = light.reshape(rows, size, columns, size).transpose(0, 2, 1, 3)
    letters = np.array(list(sensor.bayer)).reshape(2, 2)
    mosaic = np.tile(letters, (size // 2, size // 2))
    return np.stack([blocks[..., mosaic == colour].mean(-1) for colour in "RGB"]).astype(np.float32)


class Runner:
    """The two graphs in onnxruntime, as the device runs them."""

    def __init__(self, folder: Path, threads: int, frame_graph: str = FRAME_GRAPH) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._frame, self._head = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in (frame_graph, HEAD_GRAPH)
        )

    def frame(self, raw: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embedding ``[e]`` and superpixels ``[3, y, x]``."""
        fed = {"raw": as_taken(raw, self._frame.get_inputs()[0].type)}
        embedding, superpixels = self._frame.run(["embedding", "superpixels"], fed)
        return embedding, superpixels

    def head(self, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sigma in BDI points of embeddings ``[t, e]``."""
        mean, sigma = self._head.run(["mean", "sigma"], {"window": window})
        return float(mean), float(sigma)
