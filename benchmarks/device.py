"""The deployed camera: what confinement, interlock and bookkeeping add to the bare network; memory; bits.

Ratios are of processor time, which neighbours on a shared machine disturb less than the clock on the wall.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figure import Figure, main
from opticaldr.artefacts import Artefact, create
from opticaldr.artefacts.bundle import PSF_BANK, SPEC, BundleSpec, Window, read_spec, sign_bundle
from opticaldr.calibration.interlock import derive_interlock, superpixel_bank
from opticaldr.device.budget import FACE_IMAGE_BITS, bits_per_hour
from opticaldr.device.housing import Housing
from opticaldr.device.rig import open_rig
from opticaldr.hardware.cameras.recording import record
from opticaldr.models.optics import preset

FRAMES, WINDOW, EMBEDDING = 400, 32, 64
SPREAD = 24.0  # raw pixels: width of the Gaussian PSF that stands for a mask
WHY_MORE = (
    "moving a frame into locked memory and wiping it twice costs a quarter of so quick a graph, the interlock's "
    "spectrum as much; next: cameras that read into the ring, the spectrum beside the graph on another core"
)


def make_bundle(out: Path) -> Artefact:
    """The clinic camera with the device's network, untrained: as fast as a trained one."""
    import torch

    from opticaldr.models.export.bundle import camera_mode
    from opticaldr.models.export.graphs import OPSET, FrameGraph, HeadGraph, write_graph
    from opticaldr.models.networks import Compact, TemporalHead

    optics = preset("clinic")
    sensor = optics.sensor
    axis = np.arange(161) - 80
    gaussian = np.exp(-(axis**2) / (2 * SPREAD**2))
    psf = np.outer(gaussian, gaussian) / gaussian.sum() ** 2
    bank = np.broadcast_to(psf, (1, 1, 3, 161, 161)).astype(np.float32)
    mode = camera_mode(sensor)
    spec = BundleSpec(
        design="0" * 64,
        calibration="0" * 64,
        networks="0" * 64,
        camera=mode,
        window=Window(frames=WINDOW, fps=30.0),
        embedding=EMBEDDING,
        interlock=derive_interlock(superpixel_bank(bank[0, 0], sensor.binning), sensor),
        opset=OPSET,
    )
    torch.manual_seed(0)
    with create("bundle", out) as draft:
        frame, head = FrameGraph(Compact(EMBEDDING), mode).eval(), HeadGraph(TemporalHead(EMBEDDING)).eval()
        window = torch.zeros(WINDOW, EMBEDDING)
        write_graph(frame, frame.example, draft.path / "frame.onnx", "raw", ["embedding", "superpixels"], {})
        write_graph(head, window, draft.path / "head.onnx", "window", ["mean", "sigma"], {})
        (draft.path / SPEC).write_text(spec.model_dump_json())
        (draft.path / "optics.json").write_text(optics.model_dump_json())
        np.savez(draft.path / PSF_BANK, psf=bank, depths=np.array([0.6]), fields=np.zeros((1, 2)))
        sign_bundle(draft.path, (), Ed25519PrivateKey.generate())
    return draft.sealed()


PIPELINE = """
import json, os, sys, time
import numpy as np
from itertools import cycle
from pathlib import Path
from opticaldr.artefacts import open_artefact
from opticaldr.artefacts.bundle import SPEC, BundleSpec
from opticaldr.device import confinement
from opticaldr.device.estimator import Estimator
from opticaldr.device.eye import RING_SLOTS
from opticaldr.device.housing import Housing
from opticaldr.device.interlock import InterlockWatch
from opticaldr.device.mouth import Mouth
from opticaldr.device.orders import Orders
from opticaldr.device.ring import FrameRing
from opticaldr.device.rig import open_rig
from opticaldr.device.sight import Sight
from opticaldr.hardware.cameras import RawFrame

path, frames, threads, confined = Path(sys.argv[1]), *map(int, sys.argv[2:])
bundle = open_artefact(path, kind="bundle")
spec = BundleSpec.model_validate_json(bundle.file(SPEC).read_bytes())
with (
    open_rig(bundle, spec, "simulated", "simulated:0") as rig,
    rig.camera as camera,
    Housing(rig.board, spec) as housing,
):
    camera.capture()
    housing.open()
    kept = [camera.capture() for _ in range(8)]

class Replay:
    "Hands out the same few frames again and again; putting them there is not counted."
    raws = cycle([frame.raw for frame in kept])
    def capture(self):
        frame = RawFrame(next(self.raws).copy(), 0.01, 1.0, 60, 295.0, 0.0)
        self.given = time.perf_counter(), time.process_time()
        return frame

estimator, replay = Estimator(bundle, spec, threads=threads), Replay()
reading, writing = os.pipe()
ring = FrameRing(RING_SLOTS, (spec.camera.rows, spec.camera.columns))
orders = Orders(bundle=path, key="0" * 64, pipe=writing, interval=1)
sight = Sight(replay, estimator, InterlockWatch.of(bundle, spec), ring, Mouth(orders))
raw, out = kept[0].raw, os.dup(1)
watch = InterlockWatch.of(bundle, spec)
superpixels = estimator.understand(raw)[1].copy()
for _ in range(20):
    sight.look(); estimator.understand(raw); watch.look(superpixels)
if confined:
    flaws = [f.flaw for f in confinement.confine(ring, [writing, out]) if f.flaw]
    assert flaws == ["write to standard error"][:len(flaws)], flaws
whole, bare, interlock, wall = [], [], [], []
for _ in range(frames):
    assert sight.look()
    wall.append(time.perf_counter() - replay.given[0])
    whole.append(time.process_time() - replay.given[1])
    start = time.process_time()
    estimator.understand(raw)
    bare.append(time.process_time() - start)
    start = time.process_time()
    watch.look(superpixels)
    interlock.append(time.process_time() - start)
assert not sight.count.dropped
times = {"whole": whole, "bare": bare, "interlock": interlock, "wall": wall}
os.write(out, json.dumps(times).encode())
os._exit(0)
"""

ALONE = """
import os, sys
from pathlib import Path
from opticaldr.artefacts import open_artefact
from opticaldr.artefacts.bundle import SPEC, BundleSpec
from opticaldr.device import eye, interlock, estimator, ring
bundle = open_artefact(Path(sys.argv[1]), kind="bundle")
spec = BundleSpec.model_validate_json(bundle.file(SPEC).read_bytes())
held = ring.FrameRing(eye.RING_SLOTS, (spec.camera.rows, spec.camera.columns))
held.slots.fill(1)
model, watch = estimator.Estimator(bundle, spec), interlock.InterlockWatch.of(bundle, spec)
watch.look(model.understand(held.slots[0])[1])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def pipeline(bundle: Path, threads: int = 1, confined: bool = True) -> dict[str, list[float]]:
    """Seconds of eye's work on a frame, of the network alone and of the interlock alone, frame by frame."""
    command = [sys.executable, "-c", PIPELINE, str(bundle), str(FRAMES), str(threads), str(int(confined))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def record_window(bundle: Artefact, out: Path) -> Path:
    """The raw frames of one window from the simulated rig, for a run that need not render any."""
    with (
        open_rig(bundle, read_spec(bundle), "simulated", "simulated:0") as rig,
        rig.camera as camera,
        Housing(rig.board, read_spec(bundle)) as housing,
    ):
        camera.capture()
        housing.open()
        record(camera, out, WINDOW)
    return out


def run(bundle: Path, out: Path, **options: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Run both processes; returns the summary and the largest resident memory of each, MiB."""
    script = (
        "import json, os, sys; from pathlib import Path; from opticaldr.device.run import run\n"
        f"print(json.dumps(run(Path({str(bundle)!r}), out=Path({str(out)!r}), **{options!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    peaks = {"eye": 0.0, "voice": 0.0}

    def watch() -> None:
        while process.poll() is None:
            for name, pid in _processes(process.pid):
                peaks[name] = max(peaks[name], _resident(pid))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    return json.loads(output), peaks


def _processes(voice: int) -> Iterator[tuple[str, int]]:
    yield "voice", voice
    try:
        for child in Path(f"/proc/{voice}/task/{voice}/children").read_text().split():
            yield "eye", int(child)
    except OSError:
        return


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
    except (OSError, StopIteration):
        return 0.0


def figures() -> list[Figure]:
    """All figures of the device."""
    measured = []
    middle = statistics.median
    with tempfile.TemporaryDirectory() as folder:
        artefact = make_bundle(Path(folder, "bundle"))
        bundle, played = artefact.path, record_window(artefact, Path(folder, "recording"))
        for threads in (1, 2):
            times = pipeline(bundle, threads)
            ratio, ms = middle(times["whole"]) / middle(times["bare"]), 1e3 * middle(times["whole"])
            name = f"{threads} thread{'s' if threads > 1 else ''}"
            measured += [
                Figure(
                    f"eye's work on a frame, {name}",
                    ratio,
                    "×",
                    1.10,
                    peer="onnxruntime alone, same run",
                    why_missed=WHY_MORE,
                ),
                Figure(f"eye's work on a frame, {name}", ms, "ms cpu"),
                Figure(f"frames a second, {name}", 1 / middle(times["wall"]), "1/s", better="higher"),
            ]
            if threads == 1:
                free = pipeline(bundle, confined=False)
                cost = ratio / (middle(free["whole"]) / middle(free["bare"]))
                measured += [
                    Figure("of which the interlock", 1e3 * middle(times["interlock"]), "ms cpu"),
                    Figure("cost of confinement", cost, "×", peer="the same without confinement"),
                ]
        alone = subprocess.run([sys.executable, "-c", ALONE, bundle], check=True, stdout=subprocess.PIPE)
        summary, peaks = run(bundle, Path(folder, "out"), frames=3 * WINDOW, interval=1)
        replay, held = run(bundle, Path(folder, "again"), interval=1, source=f"replay:{played}")
        for said in (summary, replay):
            assert said["passed"], said
        measured += [
            Figure("latency from capture, both processes running, p50", summary["latency_ms"]["p50"], "ms"),
            Figure("latency from capture, both processes running, p99", summary["latency_ms"]["p99"], "ms"),
            Figure("eye, resident, without a camera", int(alone.stdout) / 1024, "MiB", 190.7),
            Figure(f"eye, resident, playing {WINDOW} frames that it holds", held["eye"], "MiB", 190.7),
            Figure("eye, resident, with the simulated camera", peaks["eye"], "MiB", 190.7),
            Figure("voice, resident", peaks["voice"], "MiB", 114.4),
        ]
    share = bits_per_hour(60.0) / FACE_IMAGE_BITS
    return [
        *measured,
        Figure("what eye can say in an hour", share, "faces", 0.02, peer="112 × 112 RGB, 8 bits"),
    ]


if __name__ == "__main__":
    main("device", figures)
