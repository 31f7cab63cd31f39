"""Measuring privacy: what an evaluation costs, and embedding beside the bare runtime."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, main

QUICK = """
import sys
from pathlib import Path
from opticaldr.artefacts import create
from opticaldr.models.evaluation import evaluate
from opticaldr.models.optics import Optic, preset, zernike_height
folder, spec = Path(sys.argv[1]), preset("clinic")
with create("design", folder / "design", seed=0) as draft:
    Optic(spec, zernike_height({4: 1e-5, 6: 3e-6, 7: 2e-6}, spec)).write(draft.path)
evaluate(draft.sealed(), folder / "evaluation")
"""


def quick(folder: str) -> tuple[float, float]:
    """Seconds and GiB of a quick evaluation with nothing remembered."""
    start = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    subprocess.run([sys.executable, "-c", QUICK, folder], check=True, env=environment)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    return time.perf_counter() - start, peak


def embedding_against_runtime(folder: str) -> float:
    """Faces a second through the adapter, alignment and colour included, relative to the bare network."""
    import torch

    from opticaldr.models.evaluation.recognisers import BATCH, OnnxRecogniser
    from opticaldr.models.networks import Recogniser

    model = Path(folder, "network.onnx")
    network = Recogniser(width=32, size=112).eval()
    torch.onnx.export(network, (torch.rand(BATCH, 3, 112, 112),), model, verbose=False)
    toml = 'name = "network"\nsize = 112\nflip = false\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n'
    model.with_suffix(".toml").write_text(toml, encoding="utf-8")
    recogniser = OnnxRecogniser(model)
    faces = np.random.default_rng(0).random((BATCH, 112, 112, 3), np.float32)
    from opticaldr.models.evaluation.alignment import template

    marks = np.repeat(template(112)[None], BATCH, 0)
    batch = np.ascontiguousarray(faces.transpose(0, 3, 1, 2))
    bare, whole = [], []
    for _ in range(7):
        start = time.perf_counter()
        recogniser.run(batch)
        middle = time.perf_counter()
        recogniser.embed(faces, marks)
        bare.append(middle - start)
        whole.append(time.perf_counter() - middle)
    return 100 * min(bare) / min(whole)


def figures() -> list[Figure]:
    """A quick evaluation in an empty cache, and the adapter's overhead."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = quick(folder)
        share = embedding_against_runtime(folder)
    return [
        Figure(f"evaluate --budget quick, {os.cpu_count()} cores", seconds, "s", 180),
        Figure("evaluate --budget quick, resident", peak, "GiB", 2),
        Figure(
            "embedding throughput",
            share,
            "%",
            90,
            "higher",
            "bare onnxruntime, same network and batch",
            "faces are cut out and encoded as sRGB on the same core, between batches; next: another core for that",
        ),
    ]


if __name__ == "__main__":
    main("evaluate", figures)
