"""A small bundle with graphs of its own, so that the device can be tried without a network that was
trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from opticaldr.artefacts import create
from opticaldr.artefacts.bundle import BundleSpec, CameraMode, Window, sign_bundle
from opticaldr.calibration.interlock import derive_interlock, superpixel_bank
from opticaldr.models.optics import OpticsSpec, SensorSpec, bayer_masks, preset

SIDE, WINDOW, EMBEDDING, OPSET = 512, 8, 16, 17


def small_clinic() -> OpticsSpec:
    """The clinic preset with fewer pixels."""
    spec = preset("clinic")
    return spec.model_copy(update={"sensor": spec.sensor.model_copy(update={"shape": (SIDE, SIDE)})})


def blurring_bank(spread: float = 24.0, side: int = 161) -> np.ndarray:
    """A Gaussian PSF at raw pixels ``[depth, field, colour, y, x]``, ``spread`` raw pixels wide."""
    axis = np.arange(side) - side // 2
    gaussian = np.exp(-(axis**2) / (2 * spread**2))
    psf = np.outer(gaussian, gaussian)
    return np.broadcast_to(psf / psf.sum(), (1, 1, 3, side, side)).astype(np.float32)


def make_bundle(out: Path, key: Ed25519PrivateKey, **changes: Any) -> Path:
    """Write and sign a bundle; ``changes`` replace fields of its ``bundle.json``."""
    optics = small_clinic()
    sensor, bank = optics.sensor, blurring_bank()
    spec = BundleSpec(
        design="0" * 64,
        calibration="1" * 64,
        networks="2" * 64,
        camera=CameraMode(
            rows=SIDE,
            columns=SIDE,
            bayer=sensor.bayer,
            bits=sensor.bits,
            black_level=sensor.black_level,
            white_level=sensor.white_level,
            binning=sensor.binning,
        ),
        window=Window(frames=WINDOW, fps=30.0),
        embedding=EMBEDDING,
        interlock=derive_interlock(superpixel_bank(bank, sensor.binning), sensor),
        opset=OPSET,
    )
    with create("bundle", out) as draft:
        contents = json.loads(spec.model_dump_json()) | changes
        (draft.path / "bundle.json").write_text(json.dumps(contents))
        (draft.path / "optics.json").write_text(optics.model_dump_json())
        np.savez(draft.path / "psf.npz", psf=bank, depths=np.array([0.6]), fields=np.zeros((1, 2)))
        onnx.save(frame_graph(sensor), draft.path / "frame.onnx")
        onnx.save(head_graph(), draft.path / "head.onnx")
        sign_bundle(draft.path, (), key)
    return out


def frame_graph(sensor: SensorSpec) -> onnx.ModelProto:
    """Raw frame to superpixels by a strided convolution, and to an embedding by a random projection."""
    rng = np.random.default_rng(0)
    masks = bayer_masks(sensor.bayer, sensor.binning, sensor.binning)
    kernel = (masks / masks.sum((1, 2), keepdims=True))[:, None].astype(np.float32)
    rows, columns = sensor.binned_shape
    side = rows // 8
    weights = rng.normal(size=(3 * 64, EMBEDDING)).astype(np.float32)
    constants = {
        "black": np.float32(sensor.black_level),
        "range": np.float32(sensor.white_level - sensor.black_level),
        "as_image": np.array([1, 1, *sensor.shape], np.int64),
        "as_superpixels": np.array([3, rows, columns], np.int64),
        "as_row": np.array([1, 3 * 64], np.int64),
        "as_embedding": np.array([EMBEDDING], np.int64),
        "kernel": kernel,
        "weights": weights,
    }
    nodes = [
        helper.make_node("Cast", ["raw"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["levels", "black"], ["above"]),
        helper.make_node("Div", ["above", "range"], ["fraction"]),
        helper.make_node("Reshape", ["fraction", "as_image"], ["image"]),
        helper.make_node("Conv", ["image", "kernel"], ["binned"], strides=[sensor.binning] * 2),
        helper.make_node("Reshape", ["binned", "as_superpixels"], ["superpixels"]),
        helper.make_node("AveragePool", ["binned"], ["coarse"], kernel_shape=[side] * 2, strides=[side] * 2),
        helper.make_node("Reshape", ["coarse", "as_row"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["projected"]),
        helper.make_node("Reshape", ["projected", "as_embedding"], ["embedding"]),
    ]
    return _model(
        nodes,
        constants,
        helper.make_tensor_value_info("raw", TensorProto.UINT16, sensor.shape),
        {"embedding": [EMBEDDING], "superpixels": [3, rows, columns]},
    )


def head_graph() -> onnx.ModelProto:
    """The mean of all embeddings, squeezed into 0 to 63, and a constant sigma."""
    constants = {"scale": np.float32(63.0), "sigma_value": np.float32(6.5)}
    nodes = [
        helper.make_node("ReduceMean", ["window"], ["level"], keepdims=0),
        helper.make_node("Sigmoid", ["level"], ["share"]),
        helper.make_node("Mul", ["share", "scale"], ["mean"]),
        helper.make_node("Identity", ["sigma_value"], ["sigma"]),
    ]
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, [WINDOW, EMBEDDING])
    return _model(nodes, constants, window, {"mean": [], "sigma": []})


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any],
    entry: onnx.ValueInfoProto,
    outputs: dict[str, list[int]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [entry],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model
