"""One contender of the twin's benchmark in a process of its own: ``python -m benchmarks.twin_cases NAME
FOLDER``.

Imports nothing of this project but what the contender itself is, so that peers can run from an environment of
their own. Each contender is ``prepare(problem)`` → a function from the height map, a tensor, to PSFs
[wavelength, y, x]; what it may compute once and keep (kernels, the source's wave) it computes there. prysm
has no gradient of its own: its adjoint is written out here with its own propagation.
"""

import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Problem = Any
"""What `benchmarks.twin` saved: height, coverage, source (wave path), indices, wavelengths, pitch, distance, side."""

REPEATS = 7


def prepare_twin(problem: Problem) -> Callable[[Any], Any]:
    """This project."""
    from opticaldr.models.optics import preset, psf

    spec, side = preset("paper"), int(problem["side"])
    wavelengths, depth = [float(w) for w in problem["wavelengths"]], float(problem["depth"])
    return lambda height: psf(
        height, spec, wavelengths, depth, shape=(side, side), binned=False, integrated=False
    )


def prepare_plain(problem: Problem) -> Callable[[Any], Any]:
    """Padded angular spectrum in plain torch, kernel built in float64 and cached as complex64."""
    import torch

    kernels = [torch.from_numpy(exact_kernel(problem, i)) for i in range(3)]
    waves = [torch.from_numpy(source_wave(problem, i)) for i in range(3)]
    size, crop = 2 * len(problem["height"]), middle(problem, len(problem["height"]))

    def psfs(height: Any) -> Any:
        result = []
        for i, kernel in enumerate(kernels):
            field = waves[i] * torch.exp(1j * (phase_scale(problem, i) * height))
            result.append(
                torch.fft.ifft2(torch.fft.fft2(field, s=(size, size)) * kernel)[crop].abs().square()
            )
        return torch.stack(result).flip(-1, -2) / float(problem["energy"])

    return psfs


def prepare_odak(problem: Problem) -> Callable[[Any], Any]:
    """odak.learn.wave with its own kernel, cached."""
    import torch
    from odak.learn.wave import get_angular_spectrum_kernel, propagate_beam, wavenumber

    samples, pitch, distance = len(problem["height"]), float(problem["pitch"]), float(problem["distance"])
    wavelengths = [float(w) for w in problem["wavelengths"]]
    kernels = [get_angular_spectrum_kernel(2 * samples, 2 * samples, pitch, w, distance) for w in wavelengths]
    waves = [torch.from_numpy(source_wave(problem, i)) for i in range(3)]
    crop = middle(problem, samples)

    def psfs(height: Any) -> Any:
        result = []
        for i, (wavelength, kernel) in enumerate(zip(wavelengths, kernels, strict=True)):
            field = waves[i] * torch.exp(1j * (phase_scale(problem, i) * height))
            out = propagate_beam(
                field,
                wavenumber(wavelength),
                distance,
                pitch,
                wavelength,
                "custom",
                kernel,
                [True, False, True],
            )
            result.append(out[crop].abs().square())
        return torch.stack(result).flip(-1, -2) / float(problem["energy"])

    return psfs


def prepare_torchoptics(problem: Problem) -> Callable[[Any], Any]:
    """torchoptics, padded to twice the mask like the others."""
    import torch
    from torchoptics import Field

    samples, pitch, distance = len(problem["height"]), float(problem["pitch"]), float(problem["distance"])
    waves = [torch.from_numpy(source_wave(problem, i)) for i in range(3)]
    crop = middle(problem, samples)

    def psfs(height: Any) -> Any:
        result = []
        for i, wavelength in enumerate(problem["wavelengths"]):
            data = waves[i] * torch.exp(1j * (phase_scale(problem, i) * height))
            field = Field(data, wavelength=float(wavelength), z=0, spacing=pitch)
            out = field.propagate_to_z(
                distance, propagation_method="ASM", asm_pad=(samples // 2, samples // 2)
            )
            result.append(out.data[crop].abs().square())
        return torch.stack(result).flip(-1, -2) / float(problem["energy"])

    return psfs


def prepare_prysm(problem: Problem) -> Callable[[Any], Any]:
    """prysm's angular spectrum with its transfer function cached, in complex64."""
    import torch
    from prysm.conf import config
    from prysm.propagation import angular_spectrum, angular_spectrum_transfer_function

    config.precision = 32
    samples, pitch, distance = len(problem["height"]), float(problem["pitch"]), float(problem["distance"])
    transfer = [
        angular_spectrum_transfer_function(2 * samples, float(w) * 1e6, pitch * 1e3, distance * 1e3).astype(
            np.complex64
        )
        for w in problem["wavelengths"]
    ]
    waves = [source_wave(problem, i) for i in range(3)]
    crop, energy = middle(problem, 2 * samples), np.float32(problem["energy"])
    inner = (slice(samples // 2, samples // 2 + samples),) * 2

    class Propagate(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, height: Any) -> Any:
            result, ctx.kept = [], []
            for i, tf in enumerate(transfer):
                field = waves[i] * np.exp(
                    1j * (np.float32(phase_scale(problem, i)) * height.detach().numpy())
                )
                padded = np.zeros((2 * samples, 2 * samples), np.complex64)
                padded[inner] = field
                out = angular_spectrum(padded, 0, 0, 0, tf=tf)[crop]
                ctx.kept.append((field, out))
                result.append(np.abs(out) ** 2)
            return torch.from_numpy(np.stack(result)[:, ::-1, ::-1] / energy)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            total = np.zeros((samples, samples), np.float32)
            for i, (field, out) in enumerate(ctx.kept):
                back = np.zeros((2 * samples, 2 * samples), np.complex64)
                back[crop] = gradient[i].numpy()[::-1, ::-1] / energy * 2 * out
                seen = angular_spectrum(back, 0, 0, 0, tf=transfer[i].conj())[inner]
                total += np.float32(phase_scale(problem, i)) * (seen * field.conj()).imag
            return torch.from_numpy(total)

    return Propagate.apply


def prepare_twin_image(problem: Problem) -> Callable[[Any], Any]:
    """This project's convolution."""
    import torch

    from opticaldr.models.optics import form_image

    psf = torch.from_numpy(problem["psf"])
    return lambda scene: form_image(scene, psf)


def prepare_plain_image(problem: Problem) -> Callable[[Any], Any]:
    """Convolution by torch's rfft2 at twice the size, OTF cached."""
    import torch

    side = problem["psf"].shape[-1]
    size, start = (2 * side, 2 * side), (side - 1) // 2
    otf = torch.fft.rfft2(torch.from_numpy(problem["psf"]), s=size)
    crop = (..., slice(start, start + side), slice(start, start + side))
    return lambda scene: torch.fft.irfft2(torch.fft.rfft2(scene, s=size) * otf, s=size)[crop]


def exact_kernel(problem: Problem, i: int) -> np.ndarray:
    """exp(ikz√(1 − λ²f²)) on the padded grid, as complex64."""
    wavelength, pitch = float(problem["wavelengths"][i]), float(problem["pitch"])
    frequency = wavelength * np.fft.fftfreq(2 * len(problem["height"]), pitch)
    cosine = np.sqrt(np.maximum(1 - frequency[:, None] ** 2 - frequency**2, 0))
    return np.exp(2j * np.pi / wavelength * float(problem["distance"]) * (cosine - 1)).astype(np.complex64)


def source_wave(problem: Problem, i: int) -> np.ndarray:
    """Stop and source: the field at the mask without it, as complex64."""
    wave = np.exp(2j * np.pi / float(problem["wavelengths"][i]) * problem["source"])
    return (problem["coverage"] * wave).astype(np.complex64)


def phase_scale(problem: Problem, i: int) -> float:
    """Radians a metre of height."""
    return float(2 * np.pi / problem["wavelengths"][i] * (problem["indices"][i] - 1))


def middle(problem: Problem, size: int) -> tuple[slice, slice]:
    """The window of the PSF in an array of `size`²; fft2 pads behind, odak and torchoptics around and crop again."""
    start = (size - int(problem["side"])) // 2
    cut = slice(start, start + int(problem["side"]))
    return cut, cut


PREPARE: dict[str, Callable[[Problem], Callable[[Any], Any]]] = {
    "twin": prepare_twin,
    "plain torch": prepare_plain,
    "odak": prepare_odak,
    "torchoptics": prepare_torchoptics,
    "prysm": prepare_prysm,
    "twin image": prepare_twin_image,
    "plain torch image": prepare_plain_image,
}


IMPORTS = {
    "twin": ("opticaldr.models.optics.torch_sparse",),
    "twin image": ("opticaldr.models.optics.torch_imaging",),
    "odak": ("odak.learn.wave",),
    "torchoptics": ("torchoptics",),
    "prysm": ("prysm.conf", "prysm.propagation"),
}
"""What a contender's code weighs is not part of its memory: it is imported before that is taken."""


def measure(name: str, folder: Path) -> dict[str, float]:
    """Medians of process-CPU milliseconds and peak memory in MB of one contender; its answer goes to the folder."""
    import torch

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    image = name.endswith("image")
    with np.load(folder / ("image.npz" if image else "psf.npz")) as loaded:
        problem = dict(loaded)
    given = torch.from_numpy(problem["scene" if image else "height"])
    weights = torch.from_numpy(problem["weights"])
    for module in IMPORTS.get(name, ()):
        importlib.import_module(module)
    before = resident()
    reset_peak()
    run = PREPARE[name](problem)
    answer = run(given)
    forward = cpu(lambda: run(given))
    memory_forward = peak() - before
    np.save(folder / f"{name}.npy", answer.numpy())

    def both() -> None:
        wanted = given.clone().requires_grad_()
        (run(wanted) * weights).sum().backward()

    both()
    backward = cpu(both)
    return {"forward": forward, "both": backward, "memory_forward": memory_forward, "memory": peak() - before}


def cpu(work: Callable[[], Any]) -> float:
    """Median process-CPU milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times)


def resident() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def reset_peak() -> None:
    """Forget the highest resident memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Highest resident memory since `reset_peak`, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
