"""A6: many frames of one face become one with less noise, which is then undone and recognised."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.attackers.known_psf import Inversion
from opticaldr.models.evaluation.recognisers import unit
from opticaldr.models.evaluation.views import Captures, View, burst, capture


@dataclass(frozen=True)
class Fusion:
    """A6: a burst of a face that keeps still is averaged and its PSF undone (A3), then the vectors of all pictures
    of a session are averaged.

    Attributes:
        inversion: how the PSF is undone; it is tuned on bursts.
        frames: of a burst.
        name: what the report calls it.
    """

    inversion: Inversion
    frames: int = 16
    name: str = "A6 fusion of frames"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        sensor = burst(ground.sensor, self.frames)
        bursts = Captures(
            capture(view, ground.train, sensor, seed=2 * ground.seed),
            capture(view, ground.test, sensor, seed=2 * ground.seed + 1),
        )
        for reading in self.inversion.read(ground, view, bursts):
            probes = _pooled(reading.probes, ground.test.people, ground.test.sessions)
            name = reading.attacker.replace(self.inversion.name, self.name)
            yield replace(
                reading, attacker=name, probes=probes, notes={"frames": self.frames} | reading.notes
            )


def _pooled(vectors: FloatArray, people: NDArray[np.int64], sessions: NDArray[np.int64]) -> FloatArray:
    """Every picture's vector replaced by the mean of its session."""
    _, group = np.unique(np.stack([people, sessions]), axis=1, return_inverse=True)
    total = np.zeros((group.max() + 1, vectors.shape[1]), np.float32)
    np.add.at(total, group, vectors)
    return unit(total[group])
