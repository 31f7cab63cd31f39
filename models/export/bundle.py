"""`export`: from networks and a calibration to the signed bundle that a camera is given."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.artefacts import Artefact, create
from opticaldr.artefacts.bundle import (
    FRAME_GRAPH,
    HEAD_GRAPH,
    INT8_GRAPH,
    PSF_BANK,
    SPEC,
    BundleSpec,
    CameraMode,
    Window,
    sign_bundle,
)
from opticaldr.calibration.interlock import derive_interlock
from opticaldr.calibration.measured import Measured, read_measured
from opticaldr.errors import Refusal
from opticaldr.models.export.captured import CapturedClip, capture_clips
from opticaldr.models.export.card import model_card
from opticaldr.models.export.graphs import OPSET, FrameGraph, HeadGraph, write_graph
from opticaldr.models.export.parity import FRAMES, THREADS, TOLERANCE, measure_parity
from opticaldr.models.export.quantise import Raw, Target, by_damage, layers, write_int8
from opticaldr.models.networks import Compact, TemporalHead, load_networks
from opticaldr.models.optics import OpticsSpec, SensorSpec

Progress = Callable[[str, int, int], None]
Precision = Literal["float32", "int8"]

LIFETIME = timedelta(days=365)
"""How long a calibration may be trusted; screws and glue creep."""

WARMTH = 20.0
"""Kelvin around the calibration's temperature in which it is trusted. A polymer's index falls by 1e-4 a kelvin, so its
phase stays within 0.4 %; a sensor is warmer than its housing by less than that."""

CALIBRATION = 3_000_000
"""First number of the people whose frames give the ranges of INT8 activations."""


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
    precision: Precision = "float32",
    target: Target = "x86",
    frames: int = FRAMES,
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
        precision: of the frame graph that the camera shall run.
        target: processor that the INT8 graph is meant for.
        frames: captured frames that the gates are measured on, at the least.

    Returns:
        The bundle: ``frame.onnx``, ``frame-int8.onnx`` unless every layer had to be kept in float,
        ``head.onnx``, ``bundle.json``, ``psf.npz``, ``optics.json``, ``parity.json``, ``MODEL_CARD.md``,
        ``signature.json``.

    Raises:
        Refusal: artefacts that do not belong together, failed gates, or a mask without a usable stop band.
        NotTheSame: the graphs differ from the networks by more than 0.01 BDI points, or between threads, or
            INT8 was asked for and cannot be had.
    """
    require_kin(networks, calibration)
    require_privacy(networks)
    measured = read_measured(calibration, accept_failed_gates=accept_failed_gates)
    require_mode(networks, measured.spec.sensor)
    network, head, _ = loaded = load_networks(
        networks.file("networks.safetensors"), measured.spec.sensor.binned_shape[0]
    )
    metrics = networks.json("metrics.json")
    spec = _specified(
        networks, calibration, measured, network.embed.out_features, Window(**metrics["window"])
    )
    with create("bundle", out, parents=[networks, calibration], seed=seed) as draft:
        _write_graphs(draft.path, network, head, spec, progress)
        clips = -(-frames // spec.window.frames)

        def captured() -> Iterator[CapturedClip]:
            return capture_clips(measured, spec.window, clips, seed)

        parity = measure_int8(
            draft.path,
            [raw for clip in capture_clips(measured, spec.window, 4, seed, CALIBRATION) for raw in clip.raw],
            lambda: measure_parity(draft.path, loaded, captured(), clips, measured.spec.sensor, progress),
            target,
        )
        require_same(parity)
        if precision == "int8":
            if INT8_GRAPH not in (path.name for path in draft.path.iterdir()):
                raise NotTheSame(
                    "no layer of these networks can be kept in INT8 within its gates",
                    "export with --precision float32",
                )
            spec = spec.model_copy(update={"frame_graph": INT8_GRAPH})
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


def _specified(
    networks: Artefact, calibration: Artefact, measured: Measured, embedding: int, window: Window
) -> BundleSpec:
    """What the device must know; refuses an expired calibration and a mask without a usable stop band."""
    expires = expiry(calibration)
    interlock = derive_interlock(measured.bank, measured.spec.sensor)
    trusted = temperatures(calibration, interlock.temperatures)
    return BundleSpec(
        design=next(
            ancestor.id
            for ancestor in (*networks.manifest.ancestors, networks.manifest.as_ancestor())
            if ancestor.kind == "design"
        ),
        calibration=calibration.id,
        networks=networks.id,
        camera=camera_mode(measured.spec.sensor),
        window=window,
        embedding=embedding,
        interlock=interlock.model_copy(update={"temperatures": trusted}),
        opset=OPSET,
        expires=expires,
    )


def _write_graphs(
    folder: Path, network: Compact, head: TemporalHead, spec: BundleSpec, progress: Progress
) -> None:
    """The float32 graphs of network and head, from the raw frame to the score."""
    frame, clip = FrameGraph(network, spec.camera).eval(), HeadGraph(head).eval()
    window = torch.zeros(spec.window.frames, spec.embedding)
    about = metadata(spec)
    progress("graphs", 0, 2)
    outputs = ["embedding", "superpixels"]
    write_graph(frame, frame.example, folder / FRAME_GRAPH, "raw", outputs, about["frame"])
    progress("graphs", 1, 2)
    write_graph(clip, window, folder / HEAD_GRAPH, "window", ["mean", "sigma"], about["head"])
    progress("graphs", 2, 2)


def measure_int8(
    folder: Path, frames: list[Raw], measure: Callable[[], dict[str, Any]], target: Target
) -> dict[str, Any]:
    """Write the INT8 graph and measure; keep the most harmful layers in float, one by one, until the gates hold.

    Returns:
        Of `measure_parity`; under ``int8`` also ``layers`` and ``kept_in_float``. Without ``passed`` the folder
        holds no INT8 graph.
    """
    chosen = layers(folder / FRAME_GRAPH)
    kept: list[str] = []
    write_int8(folder / FRAME_GRAPH, folder / INT8_GRAPH, frames, chosen, target)
    parity = measure()
    order = [] if parity["int8"]["passed"] else by_damage(folder / FRAME_GRAPH, frames[:24], folder, target)
    while not parity["int8"]["passed"] and len(chosen) > 1:
        kept.append(order[len(kept)])
        chosen.remove(kept[-1])
        write_int8(folder / FRAME_GRAPH, folder / INT8_GRAPH, frames, chosen, target)
        parity = measure()
    if not parity["int8"]["passed"]:
        (folder / INT8_GRAPH).unlink()
    parity["int8"] |= {"target": target, "layers": chosen, "kept_in_float": kept}
    return parity


def require_same(parity: dict[str, Any]) -> None:
    """Refuse float32 graphs that differ from the networks, or from themselves on more threads."""
    difference, threads = parity["worst_estimate_difference"], parity.get("worst_threads_difference", 0.0)
    if not difference <= TOLERANCE:
        raise NotTheSame(
            f"the graphs differ from the networks by {difference:.3g} points "
            f"(at most {TOLERANCE} is accepted)",
            "report this with the versions of torch, onnx and onnxruntime",
        )
    if not threads <= THREADS:
        raise NotTheSame(
            f"the graphs give other embeddings on two threads than on one (by {threads:.2g} of the largest)",
            "report this with the version of onnxruntime",
        )


def require_privacy(networks: Artefact) -> None:
    """Refuse a head whose built optics give away more than the design's and the margin."""
    privacy = networks.json("metrics.json").get("privacy")
    if privacy and privacy["built_auc"] > privacy["design_auc"] + privacy["margin"]:
        raise Refusal(
            f"faces are recognised better through the built optics (AUC {privacy['built_auc']:.2f}) than through "
            f"the design's ({privacy['design_auc']:.2f}), by more than {privacy['margin']:g}",
            "have the mask made again, or state another privacy_margin in the config of opticaldr finetune",
        )


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


def expiry(calibration: Artefact) -> datetime:
    """When a calibration is no longer to be relied on; `Refusal` if that is past."""
    last = calibration.manifest.created + LIFETIME
    if datetime.now(UTC) >= last:
        raise Refusal(f"{calibration.path} expired on {last:%Y-%m-%d}", "calibrate the camera again")
    return last


def temperatures(calibration: Artefact, electronics: tuple[float, float]) -> tuple[float, float]:
    """Kelvin between which a calibration is trusted: around its own, and never outside what ``electronics`` stand.

    A camera that does not tell its temperature leaves it at the latter.
    """
    if "noise.json" not in calibration.manifest.files:
        return electronics
    measured = float(calibration.json("noise.json")["temperature_k"])
    if not math.isfinite(measured):
        return electronics
    return max(measured - WARMTH, electronics[0]), min(measured + WARMTH, electronics[1])


def require_mode(networks: Artefact, sensor: SensorSpec) -> None:
    """Refuse networks that were made for another mode of the sensor than was calibrated."""
    made_for = OpticsSpec.model_validate_json(networks.file("optics.json").read_bytes()).sensor
    for what in ("shape", "bayer", "bits", "binning"):
        if getattr(made_for, what) != getattr(sensor, what):
            raise Refusal(
                f"{networks.path} was made for a sensor with {what} {getattr(made_for, what)}, "
                f"the calibrated one has {getattr(sensor, what)}",
                "calibrate the camera in the mode of the design",
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
        "opticaldr.input": f"raw: {camera.bayer} digital numbers, uint16 [{camera.rows}, {camera.columns}]; "
        "an input of int32 holds two neighbours of a row, the left one in its lower half",
        "opticaldr.outputs": f"embedding: float32 [{spec.embedding}]; superpixels: linear RGB in fractions "
        "of full scale, float32 [3, y, x], to stay inside the device",
    }
    head = {
        "opticaldr.input": f"window: embeddings, oldest first, {spec.window.fps:g} a second, float32 "
        f"[{spec.window.frames}, {spec.embedding}]",
        "opticaldr.outputs": "mean, sigma: BDI-II points (0 to 63), float32 scalars",
    }
    return {"frame": {**ids, **frame}, "head": {**ids, **head}}
