"""The INT8 form of the frame graph: calibrated on captured frames, with what suffers from it kept in float."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts.graphs import as_taken

Target = Literal["x86", "arm"]
Raw = NDArray[np.uint16]

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators that are quantised; sums and rectifiers between them follow where the runtime can fuse them."""


def layers(graph: Path) -> list[str]:
    """Names of the layers that can be quantised, first to last.

    What stands before the superpixels is left alone: digital numbers of ten bits and the interlock's statistic do
    not fit into eight.
    """
    import onnx

    nodes = onnx.load(graph).graph.node
    early = {"superpixels"}
    for node in reversed(nodes):
        if early.intersection(node.output):
            early.update(node.input)
    return [node.name for node in nodes if node.op_type in LAYERS and not early.intersection(node.output)]


def write_int8(
    graph: Path, file: Path, frames: Iterable[Raw], chosen: Iterable[str], target: Target = "x86"
) -> None:
    """Write a graph whose chosen layers compute in INT8 (quantise-dequantise form, ONNX operators only).

    Weights are INT8 with a scale for every output channel. Activations are UINT8 on x86, where the signed kind
    costs the runtime its fast kernels, and INT8 on arm.

    Args:
        graph: the float32 graph.
        file: where to write; metadata are carried over and ``opticaldr.precision`` is set.
        frames: captured raw frames, from which the ranges of activations are taken.
        chosen: names from `layers`.
        target: the processor it is meant for.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    kind = _session(graph).get_inputs()[0].type

    class Frames(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Raw] = iter(frames)

        def get_next(self) -> dict[str, Any] | None:
            raw = next(self._left, None)
            return None if raw is None else {"raw": as_taken(raw, kind)}

    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)  # advice about a preparation that the exporter has done already
    try:
        quantize_static(
            str(graph),
            str(file),
            Frames(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            nodes_to_quantize=list(chosen),
            per_channel=True,
            activation_type=QuantType.QUInt8 if target == "x86" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": target == "arm"},
        )
    finally:
        root.setLevel(before)
    model = onnx.load(file)
    about = {entry.key: entry.value for entry in onnx.load(graph).metadata_props}
    onnx.helper.set_model_props(model, {**about, "opticaldr.precision": f"int8 for {target}"})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)


def by_damage(graph: Path, frames: list[Raw], scratch: Path, target: Target = "x86") -> list[str]:
    """Layers, the most harmful first: RMS change of the embedding when that layer alone is in INT8.

    Args:
        graph: the float32 graph.
        frames: captured; a few dozen tell layers apart.
        scratch: a folder to write trial graphs into.
        target: as for `write_int8`.
    """
    exact = embeddings(graph, frames)
    damage = {}
    for name in layers(graph):
        trial = scratch / "trial.onnx"
        write_int8(graph, trial, frames, [name], target)
        damage[name] = float(np.sqrt(np.square(embeddings(trial, frames) - exact).mean()))
        trial.unlink()
    return sorted(damage, key=lambda name: -damage[name])


def embeddings(graph: Path, frames: Iterable[Raw]) -> NDArray[np.float32]:
    """Embeddings ``[n, e]`` of raw frames."""
    session = _session(graph)
    kind = session.get_inputs()[0].type
    return np.stack([session.run(["embedding"], {"raw": as_taken(raw, kind)})[0] for raw in frames])


def _session(graph: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
