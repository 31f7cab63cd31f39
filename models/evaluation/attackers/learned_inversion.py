"""A4: a network that has learned to undo the optic from pairs of pictures, then recognisers as they come."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from opticaldr.models.evaluation.alignment import FloatArray, align, template
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.attackers.off_the_shelf import read_restored
from opticaldr.models.evaluation.recognisers import NetworkRecogniser
from opticaldr.models.evaluation.views import Captures, View
from opticaldr.models.networks.layers import Convolution, Residual

IDENTITY_WEIGHT = 0.5
"""Of the pull towards the clean picture's vector, where the recogniser lets gradients through."""

MARGIN = 1.5
"""Side of what the network sees, in sides of the crop that it restores: light that belongs to a face lies around
it."""


class UNet(nn.Module):
    """A U-Net (Ronneberger, Fischer & Brox, MICCAI 2015) with three scales that predicts what to add to a picture.

    Blocks of 2 × 2 pixels go in and come out as channels: a quarter of the work on pictures that an optic has
    blurred anyway.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = width
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), Convolution(12, w), Residual(w))
        self.down = nn.ModuleList(
            [
                nn.Sequential(Convolution(w, 2 * w, stride=2), Residual(2 * w)),
                nn.Sequential(Convolution(2 * w, 4 * w, stride=2), Residual(4 * w), Residual(4 * w)),
            ]
        )
        self.up = nn.ModuleList(
            [
                nn.Sequential(Convolution(6 * w, 2 * w), Residual(2 * w)),
                nn.Sequential(Convolution(3 * w, w), Residual(w)),
            ]
        )
        self.leave = nn.Sequential(nn.Conv2d(w, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, pictures: Tensor) -> Tensor:
        """``[n, 3, y, x]`` to ``[n, 3, y, x]``; sides are multiples of eight."""
        fine = self.enter(pictures)
        middle = self.down[0](fine)
        coarse = self.down[1](middle)
        middle = self.up[0](torch.cat([_twice(coarse), middle], 1))
        return pictures + self.leave(self.up[1](torch.cat([_twice(middle), fine], 1)))


@dataclass(frozen=True)
class LearnedInversion:
    """A4: a U-Net trained on aligned pairs of captured and clean faces of other people, then A0.

    It aims at the clean picture (mean absolute error of square-rooted light) and, where the base is a network
    trained here, at the clean picture's vector too. It sees `MARGIN` times the crop that it is judged on.
    """

    epochs: int
    name: str = "A4 learned inversion"
    batch: int = 32

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        size = ground.crop
        seen, clean = (_wide(p, ground.train.landmarks, size) for p in (captures.train, ground.train.scenes))
        network, curve = self._train(ground, seen, clean)
        restored = np.concatenate(
            [
                _restored(
                    network, _wide(captures.test[at : at + 64], ground.test.landmarks[at : at + 64], size)
                )
                for at in range(0, len(ground.test), 64)
            ]
        )
        marks = np.repeat(_marks(size)[None], len(restored), 0)
        yield from read_restored(ground, self.name, restored, {"loss": curve}, marks)

    def _train(self, ground: Ground, seen: FloatArray, clean: FloatArray) -> tuple[UNet, list[float]]:
        judge = ground.base.network if isinstance(ground.base, NetworkRecogniser) else None
        vectors = torch.from_numpy(ground.teaching())
        inner = slice(*_inner(ground.crop))
        steps = -(-len(seen) // self.batch)
        frozen = [] if judge is None else [p for p in judge.parameters() if p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ground.seed)
            network = UNet().to(memory_format=torch.channels_last)
            optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-3)
            pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=self.epochs * steps)
            curve = []
            for epoch in range(self.epochs):
                total = 0.0
                for index in torch.randperm(len(seen)).chunk(steps):
                    captured, goal = (_roots(p[index.numpy()]) for p in (seen, clean))
                    said = network(captured)
                    loss = (said - goal).abs().mean()
                    if judge is not None:
                        face = said[..., inner, inner].clamp(min=0).square()
                        alike = functional.cosine_similarity(judge(face), vectors[index])
                        loss = loss + IDENTITY_WEIGHT * (1 - alike).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    pace.step()
                    total += float(loss.detach()) * len(index)
                curve.append(total / len(seen))
                ground.progress(f"train {self.name}", epoch + 1, self.epochs)
        for parameter in frozen:
            parameter.requires_grad_(True)
        return network.eval(), curve


def _twice(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def _side(size: int) -> int:
    return 8 * round(MARGIN * size / 8)


def _inner(size: int) -> tuple[int, int]:
    """Where the crop of `size` lies within the wide crop."""
    start = (_side(size) - size) // 2
    return start, start + size


def _marks(size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return template(size) + _inner(size)[0]


def _wide(images: FloatArray, landmarks: FloatArray, size: int) -> FloatArray:
    return align(images, landmarks, _side(size), _marks(size))


def _roots(pictures: FloatArray) -> Tensor:
    """Square root of light, as ``[n, 3, y, x]``: what looks alike differs by alike amounts."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    return planes.clamp(min=0).sqrt().contiguous(memory_format=torch.channels_last)


def _restored(network: UNet, pictures: FloatArray) -> FloatArray:
    with torch.inference_mode():
        roots = network(_roots(pictures)).clamp(min=0)
    return np.asarray(roots.square().permute(0, 2, 3, 1).numpy(), np.float32)
