"""The two graphs of the device: a raw frame to an embedding, a window of embeddings to an estimate."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opticaldr.artefacts.bundle import CameraMode
from opticaldr.models.networks import TemporalHead
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.optics import bayer_masks

OPSET = 20


class FrameGraph(nn.Module):
    """Everything between the sensor and the embedding: black level, scale, mosaic, binning, network.

    Binning is one convolution whose stride is its size: each colour's kernel holds one over the number of
    pixels of that colour in a superpixel, at their places in the mosaic.
    """

    def __init__(self, network: FrameNetwork, camera: CameraMode) -> None:
        super().__init__()
        self.network, self.black = network, float(camera.black_level)
        self.range = float(camera.white_level - camera.black_level)
        masks = bayer_masks(camera.bayer, camera.binning, camera.binning)
        kernel = masks / masks.sum(axis=(1, 2), keepdims=True)
        self.register_buffer("kernel", torch.as_tensor(kernel[:, None], dtype=torch.float32))
        self.stride = camera.binning

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Digital numbers, uint16 ``[rows, columns]``, to embedding ``[e]`` and superpixels ``[3, y, x]``."""
        levels = nn.functional.conv2d(raw.to(torch.float32)[None, None], self.kernel, stride=self.stride)
        superpixels = (levels - self.black) / self.range  # after binning: a sixty-fourth of the pixels
        return self.network(superpixels)[0], superpixels[0]


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
