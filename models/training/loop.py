"""Training that survives being stopped: stages of steps, with checkpoints on disk."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from opticaldr.errors import Refusal
from opticaldr.models.networks.parallel import average_gradients, rank
from opticaldr.models.training.crew import from_first
from opticaldr.models.training.events import write_events

Record = dict[str, float]
Progress = Callable[[str, int, int], None]


class Stateful(Protocol):
    """A network, an optimiser, a schedule: whatever must be restored for training to go on exactly."""

    def state_dict(self) -> dict[str, Any]:
        """Everything in it that changes."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take the state back."""


class Diverged(Refusal):
    """The loss became infinite or not a number; the last good checkpoint is kept."""


class Work:
    """A hidden folder beside the result, where unfinished training waits to be continued.

    What is logged for TensorBoard lies in its ``logs``.

    Its name is a hash of what is being made, so that the same command finds its own work again and no other.

    Args:
        beside: the folder that the result will lie in.
        kind: what is being made.
        identity: everything that decides what comes out (config, parents, seed).
    """

    def __init__(self, beside: Path, kind: str, identity: str) -> None:
        digest = hashlib.sha256(
            f"{version('opticaldr')}\n{torch.__version__}\n{identity}".encode()
        ).hexdigest()[:12]
        self.folder = beside / f".{kind}-in-progress-{digest}"
        self.logs = self.folder / "logs"

    def load(self, stage: str) -> dict[str, Any] | None:
        """The last checkpoint of a stage, or None."""
        file = self.folder / f"{stage}.pt"
        if not file.exists():
            return None
        return dict(torch.load(file, weights_only=True))

    def restore(self, stage: str, parts: Mapping[str, Stateful]) -> None:
        """Give parts the state that they had at the last checkpoint of another stage."""
        checkpoint = from_first(lambda: self.load(stage))
        assert checkpoint is not None
        for name, part in parts.items():
            part.load_state_dict(checkpoint["parts"][name])

    def save(self, stage: str, checkpoint: dict[str, Any]) -> None:
        """Replace a stage's checkpoint: the old one stays until the new one is on the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{stage}.partial"
        with partial.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self.folder / f"{stage}.pt")

    def remove(self) -> None:
        """Forget everything: the result is sealed."""
        shutil.rmtree(self.folder, ignore_errors=True)


def run_stage(
    stage: str,
    steps: int,
    step: Callable[[int], Record],
    parts: Mapping[str, Stateful],
    work: Work,
    *,
    seed: int,
    every: int,
    progress: Progress = lambda stage, done, total: None,
) -> list[Record]:
    """Run ``step(0) … step(steps - 1)``, continuing after the last checkpoint if there is one.

    Before every step torch's global generator is seeded from ``(seed, stage, number of the step)``, so a
    run that was killed and continued draws what an uninterrupted one draws and, on the CPU, ends with the
    same weights.

    Args:
        stage: its name; also the checkpoint's.
        steps: how many.
        step: does one and returns figures about it, ``loss`` among them.
        parts: what changes during the stage.
        work: where checkpoints are kept.
        seed: of everything drawn inside a step.
        every: steps between two checkpoints.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        What every step returned.

    Over several processes (see `opticaldr.models.networks.parallel`) every optimiser steps by the mean of their
    gradients, and the first alone writes.

    Raises:
        Diverged: a step's loss is not finite.
    """
    history: list[Record] = []
    if (checkpoint := from_first(lambda: work.load(stage))) is not None:
        for name, part in parts.items():
            part.load_state_dict(checkpoint["parts"][name])
        history = checkpoint["history"]
    hooks = [
        part.register_step_pre_hook(average_gradients)
        for part in parts.values()
        if isinstance(part, torch.optim.Optimizer)
    ]
    first = rank() == 0
    with torch.random.fork_rng(devices=[]), write_events(work.logs / stage, history, first) as log:
        for number in range(len(history), steps):
            torch.manual_seed(_seed_of(seed, stage, number))
            record = step(number)
            if not math.isfinite(record["loss"]):
                kept = number - number % every
                raise Diverged(
                    f"the loss of stage {stage} is {record['loss']} at step {number}",
                    f"lower its rate; the state after step {kept} is kept in {work.folder}"
                    if kept
                    else "lower its rate",
                )
            history.append(record)
            log(number, record)
            if first and ((number + 1) % every == 0 or number + 1 == steps):
                state = {name: part.state_dict() for name, part in parts.items()}
                work.save(stage, {"parts": state, "history": history})
            progress(stage, number + 1, steps)
    for hook in hooks:
        hook.remove()
    return history


def _seed_of(seed: int, stage: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{stage}/{number}".encode()).digest()[:7])
