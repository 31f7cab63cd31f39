"""A small face recogniser: the opponent that the lens is trained and judged against.

Input convention, everywhere: float32 ``[n, 3, 112, 112]``, linear RGB in 0..1 (what a camera counts, not
sRGB). Everything else (gamma, brightness, contrast) is done inside, so a clean picture, a captured frame and
a reconstruction are handed over alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from opticaldr.models.networks.layers import Convolution, Residual, Standardise
from opticaldr.models.networks.parallel import BatchNorm1d, Dropout
from opticaldr.models.networks.precision import convolving

Sampler = Callable[[torch.Generator], tuple[Tensor, Tensor]]
Progress = Callable[[str, int, int], None]


class Recogniser(nn.Module):
    """Frames to unit vectors whose dot product says how likely two frames show one person.

    The weights belong to the frame size they were trained at.

    Args:
        embedding: length of the vector.
        width: channels after the first convolution; all others are multiples of it.
        size: rows and columns of a frame.
    """

    def __init__(self, embedding: int = 128, width: int = 16, size: int = 112) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Standardise(),
            Convolution(3, width, stride=2),
            Convolution(width, 2 * width, stride=2),
            Residual(2 * width),
            Convolution(2 * width, 4 * width, stride=2),
            Residual(4 * width),
            Convolution(4 * width, 8 * width, stride=2),
        )
        self.project = nn.Sequential(
            nn.Flatten(),
            Dropout(0.2),
            nn.Linear(8 * width * (-(-size // 16)) ** 2, embedding, bias=False),
            BatchNorm1d(embedding),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Linear RGB ``[n, 3, y, x]`` to unit vectors ``[n, embedding]``."""
        with convolving(frames):
            features = self.features(frames)
        return functional.normalize(self.project(features.float()), dim=1)


class MarginSoftmax(nn.Module):
    """Classification over known identities with an additive cosine margin.

    CosFace (Wang, Wang, Zhou, Ji, Gong, Zhou, Li & Liu, CVPR 2018): the score of the true identity has to win
    by ``margin``, which pulls one person's frames together and pushes people apart, also people never seen.

    Args:
        identities: how many people there are in training.
        embedding: length of the recogniser's vector.
        scale: inverse temperature of the softmax.
        margin: in cosine units.
    """

    def __init__(
        self, identities: int, embedding: int = 128, scale: float = 24.0, margin: float = 0.2
    ) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.empty(identities, embedding))
        nn.init.xavier_normal_(self.prototypes)
        self.scale, self.margin = scale, margin

    def forward(self, embeddings: Tensor, identities: Tensor) -> Tensor:
        """Mean cross-entropy of unit vectors ``[n, e]`` against identities ``[n]`` (int64)."""
        cosines = embeddings @ functional.normalize(self.prototypes, dim=1).T
        target = functional.one_hot(identities, cosines.shape[1]).to(cosines.dtype)
        return functional.cross_entropy(self.scale * (cosines - self.margin * target), identities)


def fit_recogniser(
    sample: Sampler,
    identities: int,
    *,
    steps: int,
    seed: int,
    learning_rate: float = 2e-3,
    recogniser: Recogniser | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Recogniser:
    """Train a recogniser and return it in evaluation mode.

    Args:
        sample: draws a batch with the generator it is given: frames ``[n, 3, y, x]`` (linear RGB) and their
            identities ``[n]`` (int64, 0 to ``identities - 1``). Augmentation is the sampler's business.
        identities: how many people the sampler draws from.
        steps: number of batches; the learning rate rises and falls once over them (one-cycle).
        seed: of the weights and of everything the sampler draws.
        learning_rate: its peak.
        recogniser: go on from these weights (changed in place) instead of fresh ones.
        progress: called as ``progress("recogniser", done, total)``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recogniser if recogniser is not None else Recogniser()
        loss_of = MarginSoftmax(identities, network.project[-1].num_features)
        network.to(memory_format=torch.channels_last)  # a fifth quicker on a CPU
        generator = torch.Generator().manual_seed(seed)
        parameters = [*network.parameters(), *loss_of.parameters()]
        optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
        network.train()
        for step in range(steps):
            frames, labels = sample(generator)
            optimiser.zero_grad()
            loss_of(network(frames), labels).backward()
            optimiser.step()
            schedule.step()
            progress("recogniser", step + 1, steps)
    return network.eval()
