"""Do the exported graphs give what the networks give? Measured on the calibrated camera's raw frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.artefacts.bundle import FRAME_GRAPH, HEAD_GRAPH, BundleSpec
from opticaldr.calibration.measured import Measured
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.networks import Compact, TemporalHead
from opticaldr.models.optics import SensorSpec, expose_raw, face_width, form_image

TOLERANCE = 0.01
"""Largest difference of an estimate, BDI points."""

CLIPS = 4


def measure_parity(
    folder: Path,
    network: Compact,
    head: TemporalHead,
    measured: Measured,
    spec: BundleSpec,
    seed: int,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Run the same raw frames through the graphs (onnxruntime) and the networks (torch, NumPy before it).

    Args:
        folder: holds both graphs.
        network, head: what they were made from, in evaluation mode.
        measured: PSFs and sensor.
        spec: window and camera mode.
        seed: of subjects and noise.
        progress: called as ``progress("parity", done, total)``.

    Returns:
        Number of frames and windows, the largest differences of superpixels, embeddings, estimate and
        sigma, and the largest difference between one and two threads of the runtime.
    """
    runs = {threads: Runner(folder, threads) for threads in (1, 2)}
    worst = {"superpixels": 0.0, "embedding": 0.0, "estimate": 0.0, "sigma": 0.0, "threads": 0.0}

    def compare(what: str, one: Any, other: Any) -> None:
        worst[what] = max(worst[what], float(np.abs(np.asarray(one) - np.asarray(other)).max()))

    for clip in range(CLIPS):
        graph: list[NDArray[np.float32]] = []
        torch_side: list[NDArray[np.float32]] = []
        for raw in raw_frames(measured, spec.window.frames, spec.window.fps, seed, clip):
            embedding, superpixels = runs[1].frame(raw)
            again, _ = runs[2].frame(raw)
            expected = bin_raw(raw, measured.spec.sensor)
            with torch.no_grad():
                reference = network(torch.from_numpy(expected)[None])[0].numpy()
            compare("superpixels", superpixels, expected)
            compare("embedding", embedding, reference)
            compare("threads", embedding, again)
            graph.append(embedding)
            torch_side.append(reference)
        mean, sigma = runs[1].head(np.stack(graph))
        with torch.no_grad():
            expected_mean, expected_sigma = head(torch.from_numpy(np.stack(torch_side))[None])
        compare("estimate", mean, expected_mean.numpy())
        compare("sigma", sigma, expected_sigma.numpy())
        progress("parity", clip + 1, CLIPS)
    return {
        "frames": CLIPS * spec.window.frames,
        "windows": CLIPS,
        **{f"worst_{name}_difference": value for name, value in worst.items()},
        "precision": "float32",
    }


def raw_frames(measured: Measured, frames: int, fps: float, seed: int, clip: int) -> list[NDArray[np.uint16]]:
    """Bayer frames of a simulated subject; the light of each superpixel lies evenly on its pixels."""
    spec = measured.spec
    sensor, rows = spec.sensor, len(measured.depths)
    at = clip % rows
    axis = int(np.argmin(np.linalg.norm(measured.fields, axis=1)))
    filmed = SimulatedSubjects(seed).clip(
        clip, 0, frames, sensor.binned_shape, face_width(spec, measured.depths[at]), fps=fps
    )
    rng = np.random.default_rng((seed, clip))
    spread = np.ones((sensor.binning, sensor.binning), np.float32)
    raw = []
    for frame in filmed.frames:
        scene = 0.8 * frame.transpose(2, 0, 1).astype(np.float32)
        image = form_image(scene, measured.bank[at, axis].astype(np.float32))
        light = np.stack([np.kron(colour, spread) for colour in np.clip(image, 0.0, None)])
        raw.append(expose_raw(light, sensor, rng=rng).astype(np.uint16))
    return raw


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

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._frame, self._head = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in (FRAME_GRAPH, HEAD_GRAPH)
        )

    def frame(self, raw: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embedding ``[e]`` and superpixels ``[3, y, x]``."""
        embedding, superpixels = self._frame.run(["embedding", "superpixels"], {"raw": raw})
        return embedding, superpixels

    def head(self, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sigma in BDI points of embeddings ``[t, e]``."""
        mean, sigma = self._head.run(["mean", "sigma"], {"window": window})
        return float(mean), float(sigma)
