"""The bundle's two graphs: a raw frame becomes an embedding, a window of embeddings becomes an estimate."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.artefacts.bundle import HEAD_GRAPH, BundleSpec
from opticaldr.artefacts.graphs import as_taken
from opticaldr.errors import Refusal

FloatArray = NDArray[np.float32]


class Estimator:
    """Both graphs, loaded and run once, so that nothing is left to be loaded later.

    Attributes:
        window: the embeddings behind the next estimate ``[t, e]``, oldest first; for the caller to fill and
            wipe.

    Args:
        bundle: holds the graphs.
        spec: what ``bundle.json`` says about them.
        threads: threads of the runtime; 1 keeps everything on the caller's.

    Raises:
        Refusal: a graph cannot be loaded, or is not what ``bundle.json`` says.
    """

    def __init__(self, bundle: Artefact, spec: BundleSpec, *, threads: int = 1) -> None:
        self._frame = _session(bundle, spec.frame_graph, threads)
        self._head = _session(bundle, HEAD_GRAPH, threads)
        self._taken, self._head_input = self._frame.get_inputs()[0], self._head.get_inputs()[0].name
        self.window: FloatArray = np.zeros((spec.window.frames, spec.embedding), np.float32)
        blank = np.full((spec.camera.rows, spec.camera.columns), int(spec.camera.black_level), np.uint16)
        try:
            self._bind()
            embedding, _ = self.understand(blank)
            self.estimate(self.window)
        except Exception as error:  # the runtime has exceptions of its own, one for every kind of mismatch
            why = str(error).splitlines()[0]
            raise Refusal(
                f"the graphs in {bundle.path} do not do what its bundle.json says ({why})",
                "export the bundle again",
            ) from None
        if embedding.shape != (spec.embedding,):
            raise Refusal(
                f"{bundle.path / spec.frame_graph} gives {embedding.shape} numbers instead of {spec.embedding}",
                "export the bundle again",
            )

    def understand(self, raw: NDArray[np.uint16]) -> tuple[FloatArray, FloatArray]:
        """Embedding ``[e]`` and superpixels ``[3, y, x]`` (linear RGB, fractions of full scale) of a raw
        frame. Both are overwritten by the next; the caller wipes them."""
        self._frame_io.bind_ortvalue_input(self._taken.name, self._as_value(as_taken(raw, self._taken.type)))
        self._frame.run_with_iobinding(self._frame_io)
        return self._embedding, self._superpixels

    def estimate(self, window: FloatArray) -> tuple[float, float]:
        """BDI-II estimate and its standard deviation from embeddings ``[t, e]``, oldest first."""
        mean, sigma = self._head.run(["mean", "sigma"], {self._head_input: window})
        return float(mean), float(sigma)

    def _bind(self) -> None:
        """Let the runtime write what it makes of frames into the same two arrays every time."""
        from onnxruntime import OrtValue

        shapes = {output.name: output.shape for output in self._frame.get_outputs()}
        self._as_value, self._frame_io = OrtValue.ortvalue_from_numpy, self._frame.io_binding()
        self._embedding, self._superpixels = (
            np.zeros(shapes[name], np.float32) for name in ("embedding", "superpixels")
        )
        for name, array in (("embedding", self._embedding), ("superpixels", self._superpixels)):
            self._frame_io.bind_ortvalue_output(name, self._as_value(array))


def _session(bundle: Artefact, name: str, threads: int) -> Any:
    # From 1.29 on the official builds report to their maker unless this is set before they are loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = bundle.file(name).read_bytes()
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Refusal(
            f"{bundle.path / name} cannot be loaded ({str(error).splitlines()[0]})",
            "export it again, or install a newer onnxruntime",
        ) from None
