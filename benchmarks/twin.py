"""The optical twin beside its peers: the same PSFs and the same images, one core and one process each.

1024² mask, three wavelengths, one depth, 256² PSF, with and without the gradient: ours, plain torch, odak,
torchoptics and prysm, all held against a complex128 angular spectrum. Peers come from an environment of their
own, so that they cannot replace anything here: ``OPTICALDR_PEERS`` names its Python.

    python -m venv peers
    peers/bin/pip install torch prysm torchoptics plyfile plotly matplotlib tqdm "setuptools<81"
    peers/bin/pip install opencv-python-headless && peers/bin/pip install --no-deps odak
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, main
from benchmarks.twin_cases import cpu
from opticaldr.models.optics import preset, psf, psf_bank, zernike_height
from opticaldr.models.optics.geometry import centred, pupil_positions
from opticaldr.models.optics.sampling import samples_needed, steepness

PEERS = ("odak", "torchoptics", "prysm")
WAVELENGTHS = (640e-9, 550e-9, 460e-9)
SIDE = 256
DEPTH = 1.0


def figures() -> list[Figure]:
    """Everything that can run here; absent peers are named on stderr."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = write_problem(folder)
        rows = {case: run(case, folder) for case in ("twin", "plain torch", *PEERS)}
        images = {case: run(case, folder) for case in ("twin image", "plain torch image")}
        present = {case: row for case, row in rows.items() if row is not None}
        wrong = {case: difference(np.load(folder / f"{case}.npy"), reference) for case in present}
        return [
            *psf_figures(present, wrong),
            *image_figures(images, folder),
            *floor_figures(present["twin"]),
            *growth_figures(),
        ]


def write_problem(folder: Path) -> np.ndarray:
    """Save what every contender is given; returns the PSFs by complex128 angular spectrum."""
    spec = preset("paper")
    rng = np.random.default_rng(0)
    height = zernike_height({4: -51e-6} | {j: 0.5e-6 * rng.standard_normal() for j in range(5, 16)}, spec)
    x, y = pupil_positions(spec)
    fine = centred(spec.pupil.samples * 8, spec.pupil.pitch / 8)
    inside = fine[:, None] ** 2 + fine**2 <= (spec.pupil.diameter / 2) ** 2
    coverage = inside.reshape(spec.pupil.samples, 8, spec.pupil.samples, 8).mean(axis=(1, 3))
    problem = {
        "height": height.astype(np.float32),
        "coverage": coverage,
        "source": np.sqrt(DEPTH**2 + x**2 + y**2) - DEPTH,
        "energy": coverage.sum(),
        "wavelengths": np.array(WAVELENGTHS),
        "indices": np.array([spec.mask.material.index(w) for w in WAVELENGTHS]),
        "pitch": spec.pupil.pitch,
        "distance": spec.sensor_distance,
        "depth": DEPTH,
        "side": SIDE,
        "weights": rng.random((3, SIDE, SIDE), dtype=np.float32),
    }
    np.savez(folder / "psf.npz", **problem)
    reference = np.stack([angular_spectrum(problem, height, i) for i in range(3)])
    np.savez(
        folder / "image.npz",
        scene=rng.random((8, 3, SIDE, SIDE), dtype=np.float32),
        psf=reference.astype(np.float32),
        weights=rng.random((8, 3, SIDE, SIDE), dtype=np.float32),
    )
    return reference


def angular_spectrum(problem: dict, height: np.ndarray, i: int) -> np.ndarray:
    """One PSF by padded angular spectrum in complex128."""
    k, samples = 2 * np.pi / problem["wavelengths"][i], len(height)
    path = problem["source"] + (problem["indices"][i] - 1) * height
    frequency = problem["wavelengths"][i] * np.fft.fftfreq(2 * samples, problem["pitch"])
    cosine = np.sqrt(np.maximum(1 - frequency[:, None] ** 2 - frequency**2, 0))
    spectrum = np.fft.fft2(problem["coverage"] * np.exp(1j * k * path), s=(2 * samples, 2 * samples))
    field = np.fft.ifft2(spectrum * np.exp(1j * k * problem["distance"] * cosine))
    start = (samples - SIDE) // 2
    middle = field[start : start + SIDE, start : start + SIDE]
    return np.abs(middle[::-1, ::-1]) ** 2 / problem["energy"]


def run(case: str, folder: Path) -> dict[str, float] | None:
    """One contender in its own process; None, and why on stderr, where it cannot run."""
    python = os.environ.get("OPTICALDR_PEERS", sys.executable) if case in PEERS else sys.executable
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [python, "-m", "benchmarks.twin_cases", case, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=folder,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{case} is absent: {reason}", file=sys.stderr)
        return None
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Relative L1."""
    return float(np.abs(a - b).sum() / np.abs(b).sum())


def psf_figures(rows: dict[str, dict[str, float]], wrong: dict[str, float]) -> list[Figure]:
    """Cost of each contender, and ours against the fastest of the others."""
    result = []
    for case, row in rows.items():
        goal = 1e-3 if case == "twin" else None
        result += [
            Figure(f"PSF forward, {case}", row["forward"], "CPU ms"),
            Figure(f"PSF forward and backward, {case}", row["both"], "CPU ms"),
            Figure(f"PSF peak memory, {case}", row["memory"], "MB"),
            Figure(f"PSF error, {case}", wrong[case], "rel. L1", goal, peer="complex128 angular spectrum"),
        ]
    ours, peers = rows["twin"], {case: row for case, row in rows.items() if case != "twin"}
    for kind, label in (("forward", "forward"), ("both", "forward and backward")):
        fastest = min(peers, key=lambda case: peers[case][kind])
        ratio = peers[fastest][kind] / ours[kind]
        result.append(Figure(f"PSF {label}, times faster", ratio, "×", 10, "higher", fastest))
        memory = ours["memory"] / peers[fastest]["memory"]
        result.append(Figure(f"PSF memory of the fastest {label}", memory, "×", 0.25, peer=fastest))
    return result


def image_figures(rows: dict[str, dict[str, float] | None], folder: Path) -> list[Figure]:
    """Convolution against torch's rfft2 with a cached OTF."""
    ours, plain = rows["twin image"], rows["plain torch image"]
    assert ours is not None
    assert plain is not None
    error = difference(np.load(folder / "twin image.npy"), np.load(folder / "plain torch image.npy"))
    return [
        Figure("image forward", ours["forward"], "CPU ms"),
        Figure("image forward and backward", ours["both"], "CPU ms"),
        Figure(
            "image forward, times faster", plain["forward"] / ours["forward"], "×", 1, "higher", "torch rfft2"
        ),
        Figure(
            "image forward and backward, times faster",
            plain["both"] / ours["both"],
            "×",
            1,
            "higher",
            "torch rfft2",
        ),
        Figure("image difference", error, "rel. L1", 1e-5, peer="torch rfft2"),
    ]


def floor_figures(ours: dict[str, float]) -> list[Figure]:
    """What the forward pass cannot do without: its matrix products at this core's rate, and one look at the mask."""
    spec = preset("paper")
    rng = np.random.default_rng(0)
    height = zernike_height({4: -51e-6} | {j: 0.5e-6 * rng.standard_normal() for j in range(5, 16)}, spec)
    steep = steepness(height, spec, WAVELENGTHS[0], DEPTH, (0.0, 0.0))
    window = SIDE * spec.sensor.pitch
    n = max(samples_needed(steep, spec, w, window) for w in WAVELENGTHS)
    flops = len(WAVELENGTHS) * 2 * SIDE * n * (n + SIDE)
    plain = len(WAVELENGTHS) * 8 * SIDE * n * (n + SIDE)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    left = np.ones((SIDE // 2, n // 2), np.float32)
    right = np.ones((n // 2, 2 * n), np.float32)
    mask = height.astype(np.float32)
    rate = left.size * right.shape[1] * 2 / cpu(lambda: left @ right)
    floor = flops / rate + cpu(lambda: mask.max())
    return [
        Figure("pupil samples a side", n, ""),
        Figure("PSF forward, multiplications and additions in products", flops / 1e6, "Mflop"),
        Figure("PSF forward, the same without symmetry", plain / 1e6, "Mflop"),
        Figure(
            "PSF forward over its floor",
            ours["forward"] / floor,
            "×",
            peer="its products and one read of the mask",
        ),
    ]


def growth_figures() -> list[Figure]:
    """Cost as the mask's grid and the number of depths grow."""
    paper = preset("paper")
    times = {}
    for samples in (512, 1024, 2048, 4096):
        pupil = paper.pupil.model_copy(update={"samples": samples})
        spec = paper.model_copy(update={"pupil": pupil})
        height = zernike_height({4: -51e-6, 7: 5e-7}, spec).astype(np.float32)

        def one(height: np.ndarray = height, spec: object = spec) -> None:
            psf(height, spec, WAVELENGTHS, DEPTH, shape=(SIDE, SIDE), binned=False, integrated=False)

        one()
        times[samples] = cpu(one)
    result = [Figure(f"PSF forward, {samples}² mask", ms, "CPU ms") for samples, ms in times.items()]
    height = zernike_height({4: -51e-6, 7: 5e-7}, paper).astype(np.float32)
    for count in (1, 4, 16):
        depths = list(1 / np.linspace(1 / 0.33, 1 / 2.0, count))
        psf_bank(height, paper, depths, shape=(64, 64), binned=False)
        ms = cpu(lambda depths=depths: psf_bank(height, paper, depths, shape=(64, 64), binned=False))
        result.append(Figure(f"PSF bank, {count} depths of 64²", ms / count, "CPU ms/depth"))
    return result


if __name__ == "__main__":
    main("twin", figures)
