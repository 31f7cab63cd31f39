"""Are the graphs in a bundle ours, whole, and understood by the runtime that is installed?"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts.bundle import HEAD_GRAPH, BundleSpec
from opticaldr.artefacts.store import Artefact
from opticaldr.errors import Refusal


def check_graphs(bundle: Artefact, spec: BundleSpec) -> None:
    """Load every graph that the camera will run and compare what is written in it with ``bundle.json``.

    Raises:
        Refusal: a graph is truncated or no ONNX, was made for a newer runtime, was not exported by this
            software, or belongs to another design.
    """
    for name in (spec.frame_graph, HEAD_GRAPH):
        about = _session(bundle, name).get_modelmeta().custom_metadata_map
        if "opticaldr.design" not in about:
            raise Refusal(
                f"{bundle.path / name} was not exported by opticaldr", "make the bundle with opticaldr export"
            )
        if about["opticaldr.design"] != spec.design or about.get("opticaldr.calibration") != spec.calibration:
            raise Refusal(
                f"{bundle.path / name} belongs to another design or calibration than its bundle.json",
                "export the bundle again",
            )


def as_taken(raw: NDArray[np.uint16], kind: str) -> NDArray[Any]:
    """A raw frame as a graph takes it; nothing is copied.

    Args:
        raw: digital numbers ``[rows, columns]``, contiguous.
        kind: of the graph's input, as onnxruntime names it: ``tensor(uint16)``, or ``tensor(int32)`` for two
            neighbours of a row in one word ``[rows, columns / 2]``, the left one in its lower half.
    """
    return raw.view("<i4") if kind == "tensor(int32)" else raw


def _session(bundle: Artefact, name: str) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if name not in bundle.manifest.files:
        raise Refusal(f"{bundle.path} holds no {name}", "export the bundle again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    graph = bundle.file(name).read_bytes()
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has exceptions of its own, one for every kind of mismatch
        why = str(error).splitlines()[0]
    if "opset" in why.lower() or "ir version" in why.lower():
        raise Refusal(
            f"onnxruntime {onnxruntime.__version__} is too old for {bundle.path / name}",
            "install a newer onnxruntime",
        )
    raise Refusal(f"{bundle.path / name} is not a whole ONNX file ({why})", "export the bundle again")
