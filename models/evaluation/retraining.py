"""Training recognisers: on clean faces, and on what an optic leaves of them (attacker A1)."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.faces import Progress
from opticaldr.models.networks import MarginSoftmax, Recogniser

EMBEDDING = 128


@dataclass(frozen=True)
class Schedule:
    """How long and how hard a recogniser is trained."""

    epochs: int
    batch: int = 64
    learning_rate: float = 3e-3
    distillation: float = 4.0
    """Weight of the pull towards the clean embedding of the same picture, where there is a teacher."""


def train_recogniser(
    crops: FloatArray,
    people: NDArray[np.int64],
    schedule: Schedule,
    *,
    seed: int,
    start: Recogniser | None = None,
    towards: FloatArray | None = None,
    stage: str = "train recogniser",
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Recogniser, list[float]]:
    """Train with a margin softmax over people and, with a teacher, distillation towards clean embeddings.

    The distillation is what makes a probe encoder whose vectors can be compared with a clean gallery.

    Args:
        crops: aligned faces, linear RGB ``[n, size, size, 3]``.
        people: who, ``[n]``.
        schedule: epochs and weights.
        seed: of weights, batches and augmentation.
        start: weights to go on from (a copy is trained); fresh ones without.
        towards: unit vectors ``[n, d]`` that the clean recogniser gives to the clean pictures.
        stage: what progress is called with.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        The network in evaluation mode, and the mean loss of each epoch.
    """
    size = crops.shape[1]
    names, labels = np.unique(people, return_inverse=True)
    steps = -(-len(crops) // schedule.batch)
    pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    targets = torch.from_numpy(labels)
    teacher = None if towards is None else torch.from_numpy(towards)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        length = EMBEDDING if towards is None else towards.shape[1]
        network = copy.deepcopy(start) if start is not None else Recogniser(length, size=size)
        network.to(memory_format=torch.channels_last)
        margin = MarginSoftmax(len(names), length)
        parameters = [*network.parameters(), *margin.parameters()]
        optimiser = torch.optim.AdamW(parameters, schedule.learning_rate, weight_decay=1e-2)
        pace = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, schedule.learning_rate, total_steps=schedule.epochs * steps
        )
        curve = []
        network.train()
        for epoch in range(schedule.epochs):
            total = 0.0
            for index in torch.randperm(len(pictures)).chunk(steps):
                vectors = network(augmented(pictures[index]))
                loss = margin(vectors, targets[index])
                if teacher is not None:
                    alike = functional.cosine_similarity(vectors, teacher[index])
                    loss = loss + schedule.distillation * (1 - alike).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                pace.step()
                total += float(loss.detach()) * len(index)
            curve.append(total / len(pictures))
            progress(stage, epoch + 1, schedule.epochs)
    return network.eval(), curve


def augmented(pictures: Tensor) -> Tensor:
    """Mirror, shift by up to two pixels, and change exposure and white balance of a batch ``[n, 3, y,
    x]``."""
    n, _, rows, columns = pictures.shape
    mirrored = torch.where(torch.rand(n, 1, 1, 1) < 0.5, pictures.flip(-1), pictures)
    padded = functional.pad(mirrored, (2, 2, 2, 2), mode="replicate")
    down, right = (int(shift) for shift in torch.randint(0, 5, (2,)))
    shifted = padded[..., down : down + rows, right : right + columns]
    gains = torch.exp(0.25 * torch.randn(n, 1, 1, 1) + 0.08 * torch.randn(n, 3, 1, 1))
    return (shifted * gains).contiguous(memory_format=torch.channels_last)
