"""`export`: from networks and a calibration to the signed bundle that a camera is given."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.artefacts import Artefact, create
from opticaldr.artefacts.bundle import (
    FRAME_GRAPH,
    HEAD_GRAPH,
    PSF_BANK,
    SPEC,
    BundleSpec,
    CameraMode,
    Window,
    sign_bundle,
)
from opticaldr.calibration.interlock import derive_interlock
from opticaldr.calibration.measured import read_measured
from opticaldr.errors import Refusal
from opticaldr.models.export.card import model_card
from opticaldr.models.export.graphs import OPSET, FrameGraph, HeadGraph, write_graph
from opticaldr.models.export.parity import TOLERANCE, measure_parity
from opticaldr.models.networks import load_networks
from opticaldr.models.optics import SensorSpec

Progress = Callable[[str, int, int], None]


class NotTheSame(Refusal):
    """The exported graphs do not give what the networks give."""


def export(
    networks: Artefact,
    calibration: Artefact,
    key: Ed25519PrivateKey,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
    *,
    accept_failed_gates: bool = False,
) -> Artefact:
    """Make a bundle of a head (or of an un-adapted design) for the camera that was calibrated.

    Args:
        networks: a head, or the design itself.
        calibration: of the camera; the head must have been adapted to it, or the design be its ancestor.
        key: signs the bundle.
        out: the folder to make; ``runs/bundle-<id>`` if not given.
        seed: of the subjects and the noise that parity is measured on.
        progress: called as ``progress(stage, done, total)``.
        accept_failed_gates: go on although a quality gate of the calibration failed.

    Returns:
        The bundle: ``frame.onnx``, ``head.onnx``, ``bundle.json``, ``psf.npz``, ``optics.json``,
        ``parity.json``, ``MODEL_CARD.md``, ``signature.json``.

    Raises:
        Refusal: artefacts that do not belong together, failed gates, or a mask without a usable stop band.
        NotTheSame: the graphs differ from the networks by more than 0.01 BDI points.
    """
    require_kin(networks, calibration)
    measured = read_measured(calibration, accept_failed_gates=accept_failed_gates)
    interlock = derive_interlock(measured.bank, measured.spec.sensor)
    network, head, _ = load_networks(
        networks.file("networks.safetensors"), measured.spec.sensor.binned_shape[0]
    )
    metrics = networks.json("metrics.json")
    spec = BundleSpec(
        design=next(
            ancestor.id
            for ancestor in (*networks.manifest.ancestors, networks.manifest.as_ancestor())
            if ancestor.kind == "design"
        ),
        calibration=calibration.id,
        networks=networks.id,
        camera=camera_mode(measured.spec.sensor),
        window=Window(**metrics["window"]),
        embedding=network.embed.out_features,
        interlock=interlock,
        opset=OPSET,
    )
    with create("bundle", out, parents=[networks, calibration], seed=seed) as draft:
        frame, clip = FrameGraph(network, spec.camera).eval(), HeadGraph(head).eval()
        raw = torch.zeros(spec.camera.rows, spec.camera.columns, dtype=torch.uint16)
        window = torch.zeros(spec.window.frames, spec.embedding)
        about = metadata(spec)
        progress("graphs", 0, 2)
        write_graph(frame, raw, draft.path / FRAME_GRAPH, "raw", ["embedding", "superpixels"], about["frame"])
        progress("graphs", 1, 2)
        write_graph(clip, window, draft.path / HEAD_GRAPH, "window", ["mean", "sigma"], about["head"])
        progress("graphs", 2, 2)
        parity = measure_parity(draft.path, network, head, measured, spec, seed, progress)
        if not parity["worst_estimate_difference"] <= TOLERANCE:
            raise NotTheSame(
                f"the graphs differ from the networks by {parity['worst_estimate_difference']:.3g} points "
                f"(at most {TOLERANCE} is accepted)",
                "report this with the versions of torch, onnx and onnxruntime",
            )
        (draft.path / SPEC).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (draft.path / "optics.json").write_text(
            measured.spec.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )
        (draft.path / "parity.json").write_text(json.dumps(parity, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(calibration.file("psf.npz"), draft.path / PSF_BANK)
        (draft.path / "MODEL_CARD.md").write_text(
            model_card(spec, networks.kind, metrics, parity), encoding="utf-8"
        )
        sign_bundle(draft.path, (networks.id, calibration.id), key)
    return draft.sealed()


def require_kin(networks: Artefact, calibration: Artefact) -> None:
    """Refuse networks and a calibration that do not belong to one camera."""
    if networks.kind == "head" and calibration.id not in networks.manifest.parents:
        raise Refusal(
            f"{networks.path} was adapted to another calibration than {calibration.path}",
            "give the calibration it was adapted to, or run opticaldr finetune with this one",
        )
    if networks.kind == "design" and networks.id not in {a.id for a in calibration.manifest.ancestors}:
        raise Refusal(
            f"{calibration.path} is the calibration of another design than {networks.path}",
            "give the design that was fabricated and measured",
        )


def camera_mode(sensor: SensorSpec) -> CameraMode:
    """The mode that a camera with this sensor is read in."""
    return CameraMode(
        rows=sensor.shape[0],
        columns=sensor.shape[1],
        bayer=sensor.bayer,
        bits=sensor.bits,
        black_level=sensor.black_level,
        white_level=sensor.white_level,
        binning=sensor.binning,
    )


def metadata(spec: BundleSpec) -> dict[str, dict[str, str]]:
    """What is written into each graph's metadata: ids, units and shapes."""
    ids: dict[str, Any] = {
        "opticaldr.design": spec.design,
        "opticaldr.calibration": spec.calibration,
        "opticaldr.networks": spec.networks,
        "opticaldr.purpose": spec.purpose,
    }
    camera = spec.camera
    frame = {
        "opticaldr.input": f"raw: {camera.bayer} digital numbers, uint16 [{camera.rows}, {camera.columns}]",
        "opticaldr.outputs": f"embedding: float32 [{spec.embedding}]; superpixels: linear RGB in fractions "
        "of full scale, float32 [3, y, x], to stay inside the device",
    }
    head = {
        "opticaldr.input": f"window: embeddings, oldest first, {spec.window.fps:g} a second, float32 "
        f"[{spec.window.frames}, {spec.embedding}]",
        "opticaldr.outputs": "mean, sigma: BDI-II points (0 to 63), float32 scalars",
    }
    return {"frame": {**ids, **frame}, "head": {**ids, **head}}
