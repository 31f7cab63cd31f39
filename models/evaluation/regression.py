"""Reading quantities off faces: one small network, trained in the same way for whoever asks."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.descent import descend
from opticaldr.models.evaluation.metrics import Floats, Interval, bootstrap
from opticaldr.models.networks import Compact

CROP = 48
"""Side of the crops it looks at."""


def train_reader(
    crops: FloatArray,
    quantities: FloatArray,
    *,
    epochs: int,
    seed: int,
    mirror: Sequence[float] | None = None,
) -> Callable[[FloatArray], FloatArray]:
    """Train a network on crops of faces; gives what reads the quantities ``[m, f]`` off other crops.

    Args:
        crops: aligned faces, linear RGB ``[n, y, x, 3]`` of side `CROP`.
        quantities: ``[n, f]``.
        epochs: how often each crop is seen.
        seed: of weights and batches.
        mirror: 1 or, for quantities that change sign in a mirror, -1; all 1 if None.
    """
    centre, spread = quantities.mean(0), np.maximum(quantities.std(0), 1e-6)
    pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    truth = torch.from_numpy((quantities - centre) / spread)
    sign = torch.tensor(mirror if mirror is not None else [1.0] * quantities.shape[1])
    steps = -(-len(crops) // 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Compact(factors=quantities.shape[1], size=CROP).to(memory_format=torch.channels_last)

        def losses() -> Iterator[torch.Tensor]:
            for _ in range(epochs):
                for index in torch.randperm(len(pictures)).chunk(steps):
                    seen, goal = pictures[index], truth[index]
                    if torch.rand(()) < 0.5:
                        seen, goal = seen.flip(-1), goal * sign
                    yield (network.factors(network(seen)) - goal).square().mean()

        descend(network, losses(), steps=epochs * steps, rate=4e-3, decay=1e-2)

    def read(crops: FloatArray) -> FloatArray:
        batch = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            said = np.concatenate([network.factors(network(b)).numpy() for b in batch.split(64)])
        return np.asarray(centre + spread * said, np.float32)

    return read


def explained_variance(
    said: NDArray[np.floating], truth: NDArray[np.floating], people: NDArray[np.int64], *, seed: int
) -> Interval:
    """R² of what is said of quantities ``[n, f]``, mean over them, with a 95 % interval over people.

    1 for whoever is always right; 0 for whoever says the mean, and below for whoever does worse.
    """
    _, person = np.unique(people, return_inverse=True)
    error = np.square(np.asarray(truth, np.float64) - said)

    def share(multiplicity: Floats) -> list[float]:
        weight = multiplicity[person] / multiplicity[person].sum()
        around = np.square(truth - weight @ truth)
        return [float(np.mean(1 - (weight @ error) / np.maximum(weight @ around, 1e-12)))]

    return bootstrap(share, int(person.max()) + 1, seed, 400)[0]
