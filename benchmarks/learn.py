"""Learning: cost of the optics in a step, images a second, the loader, two processes, the default design."""

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.figure import Figure, main
from opticaldr.models.networks import FACTORS, frame_network
from opticaldr.models.networks.parallel import average_gradients, each
from opticaldr.models.optics import preset
from opticaldr.models.training import DesignConfig, design_lens
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import SubjectsConfig
from opticaldr.models.training.crew import crew
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.opponents import Opponents
from opticaldr.models.training.pool import film

BATCH = 48
DEPTHS = (0.5, 0.65, 0.85)

WHY_OPTICS = (
    "compact itself is small, 13 million multiplications a frame, what two Fourier transforms of its colours "
    "and their noise cost; a moving lens adds the way back, and the gradient of the network's first layers towards the "
    "frames. Next: while the lens stands still, keep every frame's noiseless image, which tint and exposure only scale"
)


def medians(steps: dict[str, Callable[[], None]], repeats: int = 9) -> dict[str, float]:
    """Median wall-clock time of each step, taken in turn so that a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first is to warm up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def step_times(name: str) -> dict[str, float]:
    """Seconds of a step of the network on frames captured before, behind a lens that stands still, and behind one that
    moves; of what the opponents add to a step of the lens stage; and of loading."""
    spec = preset("clinic")
    torch.manual_seed(0)
    modes = range(4, spec.mask.modes + 1)
    lens = Lens(spec, modes, DEPTHS, 41, 0.4, torch.default_generator)
    network = frame_network(name, len(FACTORS), 112).train()
    pool = film(range(8), SubjectsConfig(depths=DEPTHS), spec, 0)
    scenes, truth = torch.rand(BATCH, 3, 112, 112), torch.randn(BATCH, len(FACTORS))
    view, people = torch.arange(BATCH) % len(DEPTHS), torch.arange(BATCH) % 16
    landmarks = pool.landmarks[torch.arange(BATCH) % len(pool), 0]
    opponents = Opponents(2, 8, 1e-4)
    optimiser = torch.optim.Adam([*network.parameters(), *lens.parameters()], 1e-4)

    def learn(frames: torch.Tensor) -> None:
        optimiser.zero_grad()
        (network.factors(network(frames)) - truth).square().mean().backward()
        optimiser.step()

    def bank() -> torch.Tensor:
        return torch.stack([lens.psf(depth) for depth in range(len(DEPTHS))])

    def behind(bank: torch.Tensor) -> None:
        learn(Camera(bank, spec.sensor).capture(scenes, view))

    still = bank().detach()

    def oppose() -> None:
        opponents.study(scenes, landmarks, people, torch.arange(BATCH))
        opponents.learn()

    def load() -> None:
        pool.draw(torch.randint(len(pool), (BATCH,)))

    return medians(
        {
            "captured before": lambda: learn(scenes),
            "standing still": lambda: behind(still),
            "moving": lambda: behind(bank()),
            "opponents": oppose,
            "loading": load,
        }
    )


def scaling() -> float:
    """Images a second of two processes over those of one, each with one thread and a batch of its own."""

    def rate(processes: int) -> float:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        started = []
        for rank in range(processes):
            about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            names = {**address, **{key: str(value) for key, value in about.items()}, "GROUP_RANK": "0"}
            environment = {**os.environ, **names, "TORCHELASTIC_RUN_ID": "bench", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", "from benchmarks.learn import steps_a_second; steps_a_second()"]
            started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        said = [process.communicate()[0] for process in started]
        return processes * min(float(line.splitlines()[-1]) for line in said)

    return rate(2) / rate(1)


def steps_a_second() -> None:
    """Print how many steps with optics a process does a second; started by `scaling`."""
    with crew("32-true", BATCH):
        torch.manual_seed(0)
        spec = preset("clinic")
        lens = Lens(spec, range(4, spec.mask.modes + 1), DEPTHS, 41, 0.4, torch.default_generator)
        network = frame_network("compact", len(FACTORS), 112).train()
        optimiser = torch.optim.Adam([*network.parameters(), *lens.parameters()], 1e-4)
        optimiser.register_step_pre_hook(average_gradients)
        view = torch.arange(BATCH) % len(DEPTHS)

        def step() -> None:
            bank = torch.stack([lens.psf(depth) for depth in range(len(DEPTHS))])
            frames = Camera(bank, spec.sensor).capture(each(torch.rand, BATCH, 3, 112, 112), view)
            optimiser.zero_grad()
            network.factors(network(frames)).square().mean().backward()
            optimiser.step()

        print(1 / medians({"step": step}, 7)["step"])


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
        Figure(f"{name}: scores within one sigma (68 % is calibrated)", 100 * score["coverage"], "%"),
        Figure(f"{name}: read-out recogniser's AUC, unseen people", metrics["adversary"]["auc"], ""),
    ]


def figures() -> list[Figure]:
    """Cost of a step, then the default design."""
    measured = []
    for name in ("compact", "sanet"):
        taken = step_times(name)
        goal = 20 if name == "compact" else None
        before, moving = taken["captured before"], taken["moving"]
        shares = {
            "lens standing still": 1 - before / taken["standing still"],
            "lens moving": 1 - before / moving,
            "lens moving, opponents in the step": (moving - before) / (moving + taken["opponents"]),
        }
        measured += [
            Figure(
                f"{name}: optics and sensor, {when}",
                100 * share,
                "%",
                goal,
                peer="captured before",
                why_missed=WHY_OPTICS if goal else "",
            )
            for when, share in shares.items()
        ]
        loading = 100 * taken["loading"] / moving
        measured += [
            Figure(f"{name}: training, 112 × 112", BATCH / moving, "image/s", better="higher"),
            Figure(f"{name}: loading a batch of simulated subjects", loading, "%", 100, peer="the step"),
        ]
    measured.append(
        Figure(f"two processes over one, {os.cpu_count()} cores", scaling(), "×", better="higher")
    )
    measured += outcome(DesignConfig(), "learned lens")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return [*measured, Figure("largest memory", peak, "GiB", 4)]


if __name__ == "__main__":
    main("learn", figures)
