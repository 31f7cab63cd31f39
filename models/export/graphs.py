"""The two graphs of the device: a raw frame to an embedding, a window of embeddings to an estimate."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opticaldr.artefacts.bundle import CameraMode
from opticaldr.artefacts.graphs import as_taken
from opticaldr.models.networks import TemporalHead
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.optics import bayer_masks

OPSET = 20


class FrameGraph(nn.Module):
    """Everything between the sensor and the embedding: black level, scale, mosaic, binning, network."""

    def __init__(self, network: FrameNetwork, camera: CameraMode) -> None:
        super().__init__()
        self.binning = PairedBinning(camera) if PairedBinning.holds(camera) else Binning(camera)
        self.network = network
        raw = np.zeros((camera.rows, camera.columns), np.uint16)
        self.example = torch.from_numpy(as_taken(raw, self.binning.takes))

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Digital numbers, as ``binning`` takes them, to embedding ``[e]`` and superpixels ``[3, y, x]``."""
        superpixels = self.binning(raw)
        return self.network(superpixels[None])[0], superpixels


class Binning(nn.Module):
    """Superpixels, linear RGB in fractions of full scale, by one convolution whose stride is its size.

    Each colour's kernel holds one over the number of pixels of that colour in a superpixel, at their places in the
    mosaic, and over the range from black to white.
    """

    takes = "tensor(uint16)"

    def __init__(self, camera: CameraMode) -> None:
        super().__init__()
        masks = bayer_masks(camera.bayer, camera.binning, camera.binning)
        span = camera.white_level - camera.black_level
        kernel = masks / (masks.sum(axis=(1, 2), keepdims=True) * span)
        self.register_buffer("kernel", torch.as_tensor(kernel[:, None], dtype=torch.float32))
        self.register_buffer("black", torch.full((3,), -camera.black_level / span))
        self.stride = camera.binning

    def forward(self, raw: Tensor) -> Tensor:
        """Digital numbers, uint16 ``[rows, columns]``, to superpixels ``[3, y, x]``."""
        image = raw.to(torch.float32)[None, None]
        return nn.functional.conv2d(image, self.kernel, self.black, self.stride)[0]


class PairedBinning(nn.Module):
    """The same in half the time: neighbouring pixels are added up in pairs, as the halves of 32-bit words.

    A word of a frame is two neighbours of a row, the left one in its lower half. What one place of the mosaic adds up
    to in a superpixel stays below 2¹⁵, so a sum of words is the sums of both halves, exact. Turning every pixel into
    float32 first would cost as much as all of this.
    """

    takes = "tensor(int32)"

    def __init__(self, camera: CameraMode) -> None:
        super().__init__()
        self.size, half = camera.binning, camera.binning // 2
        span = camera.white_level - camera.black_level
        means = torch.zeros(3, 4)
        for place, letter in enumerate(camera.bayer):
            row, column = divmod(place, 2)
            means["RGB".index(letter), 2 * column + row] = 1 / (half**2 * camera.bayer.count(letter) * span)
        self.register_buffer("means", means)
        self.black = camera.black_level / span
        self.register_buffer("ones", torch.ones(half, 1, dtype=torch.int32))

    @staticmethod
    def holds(camera: CameraMode) -> bool:
        """Whether no sum of one pixel's place in the mosaic can reach the other half."""
        return (camera.binning // 2) ** 2 * camera.white_level < 2**15

    def forward(self, words: Tensor) -> Tensor:
        """Pairs of digital numbers, int32 ``[rows, columns / 2]``, to superpixels ``[3, y, x]``."""
        rows, columns, half = words.shape[0] // self.size, 2 * words.shape[1] // self.size, self.size // 2
        sums = self.ones.T @ words.view(rows, half, 2 * words.shape[1])
        sums = (sums.reshape(-1, half) @ self.ones).view(rows, 2, columns)
        right = torch.floor(sums.to(torch.float32) * 2.0**-16 + 0.25)  # float32 rounds by less than a quarter
        left = (sums - right.to(torch.int32) * 2**16).to(torch.float32)
        places = torch.cat([left, right], dim=1).transpose(0, 1).reshape(4, -1)
        return (self.means @ places - self.black).view(3, rows, columns)


class HeadGraph(nn.Module):
    """The temporal head on one window."""

    def __init__(self, head: TemporalHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``[t, e]``, oldest first, to mean and sigma in BDI-II points (scalars)."""
        mean, sigma = self.head(window[None])
        return mean[0], sigma[0]


def write_graph(
    module: nn.Module, example: Tensor, file: Path, inputs: str, outputs: list[str], about: Mapping[str, str]
) -> None:
    """Export a module to ONNX, check it, and write it with its documentation in it.

    Args:
        module: in evaluation mode.
        example: an input; its shape becomes the graph's.
        file: where to write; one file, weights inside.
        inputs: name of the input.
        outputs: names of the outputs.
        about: ids, units and shapes, put into the model's metadata.
    """
    import onnx

    with torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[inputs],
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    graph = program.model.graph
    for value in (value for node in graph for value in node.outputs):
        if value.name in outputs and value not in graph.outputs:
            value.name = f"inner_{value.name}"  # the exporter names values after operators: "mean"
    model = program.model_proto
    onnx.helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, **about})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about packages that are not used here off the screen."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
