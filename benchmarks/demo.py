"""The whole loop: time and memory of the demo, start-up of the command line, and how fair the stage is."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, main

OPTICALDR = [sys.executable, "-m", "opticaldr.cli.main"]


def seconds(command: list[str], repeats: int = 7) -> float:
    """Median wall-clock time of a command."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def result(*verb: str) -> dict[str, Any]:
    """The JSON object that a verb prints, which remembers nothing of earlier runs."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [*OPTICALDR, *verb, "--json"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": empty},
        )
    return dict(json.loads(done.stdout))


def frames_per_second(frames: int = 400) -> float:
    """Rendering of simulated subjects at 112 × 112 on one core."""
    import cv2

    from opticaldr.models.data import SimulatedSubjects

    cv2.setNumThreads(1)
    stage = SimulatedSubjects(0)
    stage.clip(0, 0, 8)
    start = time.process_time()
    for subject in range(4):
        stage.clip(subject, 0, frames // 4, (112, 112), 60.0)
    return frames / (time.process_time() - start)


def cores_of_use(clips: int = 96) -> float:
    """How many times as quickly all cores film as one does."""
    from opticaldr.models.data import Shot, SimulatedSubjects, Take, film_all

    stage, take = SimulatedSubjects(0), Take(12, 1.0, (112, 112), 60.0)
    shots = [Shot(n, 0, take) for n in range(clips)]
    start = time.perf_counter()
    for shot in shots[: clips // 4]:
        list(film_all(stage, [shot]))
    alone = 4 * (time.perf_counter() - start)
    start = time.perf_counter()
    list(film_all(stage, shots))
    return alone / (time.perf_counter() - start)


def figures() -> list[Figure]:
    """Run the demo in an empty folder and the stage's own evaluation."""
    measured = [
        Figure("opticaldr --help", seconds([*OPTICALDR, "--help"]), "s", 0.4, peer="python -c pass below"),
        Figure("python -c pass", seconds([sys.executable, "-c", "pass"]), "s"),
        Figure("simulated subjects, 112 × 112, one core", frames_per_second(), "frame/s", 200, "higher"),
        Figure(
            f"simulated subjects on {os.cpu_count()} cores",
            cores_of_use(),
            "×",
            better="higher",
            peer="one core",
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result("demo", "--out", str(Path(folder, "demo")))
        minutes = (time.perf_counter() - start) / 60
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        measured += [
            Figure(f"demo on {os.cpu_count()} cores", minutes, "min", 6),
            Figure("demo, largest process", peak, "GiB", 4),
        ]
    stage = result("evaluate", "--stage")
    measured += [
        Figure("recogniser on clean simulated faces, AUC", stage["recogniser_auc"], "", 0.98, "higher"),
        Figure(
            "head on clean clips, MAE below the constant predictor's",
            100 * stage["mae_reduction"],
            "%",
            25,
            "higher",
            "constant predictor",
        ),
    ]
    return measured


if __name__ == "__main__":
    main("demo", figures)
