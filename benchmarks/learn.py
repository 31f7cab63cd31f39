"""Learning: cost of the optics in a training step, images a second, the default design, and a control lens."""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.figure import Figure, main
from opticaldr.models.networks import FACTORS, Compact
from opticaldr.models.optics import preset
from opticaldr.models.training import DesignConfig, design_lens
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.lens import Lens

BATCH = 48


def seconds(step: Callable[[], None], repeats: int = 9) -> float:
    """Median wall-clock time of a step, after one to warm up."""
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def step_times() -> tuple[float, float]:
    """Seconds of a training step of the network with lens and sensor in it, and on frames captured before."""
    spec = preset("clinic")
    depths = (0.5, 0.65, 0.85)
    torch.manual_seed(0)
    lens = Lens(spec, range(4, spec.mask.modes + 1), depths, 41, 0.4, torch.default_generator)
    network = Compact().to(memory_format=torch.channels_last).train()
    scenes, truth = torch.rand(BATCH, 3, 112, 112), torch.randn(BATCH, len(FACTORS))
    view = torch.arange(BATCH) % len(depths)
    optimiser = torch.optim.Adam([*network.parameters(), *lens.parameters()], 1e-4)

    def learn(frames: torch.Tensor) -> None:
        optimiser.zero_grad()
        (network.factors(network(frames)) - truth).square().mean().backward()
        optimiser.step()

    def through_the_lens() -> None:
        bank = torch.stack([lens.psf(depth) for depth in range(len(depths))])
        learn(Camera(bank, spec.sensor).capture(scenes, view))

    return seconds(through_the_lens), seconds(lambda: learn(scenes))


def outcome(config: DesignConfig, name: str) -> list[Figure]:
    """What one lens keeps and what it gives away."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        metrics = design_lens(config, Path(folder, "design"), 0).json("metrics.json")
        took = time.perf_counter() - start
    score = metrics["score"]
    return [
        Figure(f"{name}: whole design", took, "s"),
        Figure(
            f"{name}: mean R² of the factors, unseen people", metrics["factors"]["mean"], "", None, "higher"
        ),
        Figure(
            f"{name}: BDI-II error", score["mae"], "points", score["constant_mae"], peer="goal: the median's"
        ),
        Figure(f"{name}: read-out recogniser's AUC, unseen people", metrics["adversary"]["auc"], ""),
    ]


def figures() -> list[Figure]:
    """Cost of a step, then the default design beside a lens that may only defocus, learned in the same way."""
    with_optics, without = step_times()
    share = 100 * (1 - without / with_optics)
    default = DesignConfig()
    defocus = default.model_copy(update={"lens": default.lens.model_copy(update={"modes": (4,)})})
    measured = [
        Figure("optics and sensor in a training step", share, "%", 20, peer="the step on captured frames"),
        Figure("training, 112 × 112", BATCH / with_optics, "image/s", better="higher"),
        *outcome(default, "learned lens"),
        *outcome(defocus, "defocus only"),
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return [*measured, Figure("largest memory", peak, "GiB", 4)]


if __name__ == "__main__":
    main("learn", figures)
