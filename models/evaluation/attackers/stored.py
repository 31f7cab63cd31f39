"""The network's embedding as a disclosure surface: who reads the device's memory, or a log of features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.recognisers import unit
from opticaldr.models.evaluation.views import BATCH, Captures, View
from opticaldr.models.networks import Compact


@dataclass(frozen=True)
class StoredEmbedding:
    """Compares the embeddings that the artefact's own network makes of captures: as they are, and by the metric
    that tells training people apart best (Fisher's discriminants)."""

    network: Compact
    name: str = "stored embedding"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        train, probes = self.embed(captures.train), self.embed(captures.test)
        gallery = self.embed(ground.test.scenes)
        centre = train.mean(0)
        yield Reading(self.name, "cosine", unit(gallery - centre), unit(probes - centre))
        project = discriminants(train, ground.train.people)
        gallery, probes = (unit((vectors - centre) @ project) for vectors in (gallery, probes))
        yield Reading(self.name, "learned metric", gallery, probes)

    def embed(self, frames: FloatArray) -> FloatArray:
        """Embeddings ``[n, e]`` of whole frames ``[n, y, x, 3]``, as the device makes them."""
        self.network.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(frames), BATCH):
                batch = np.asarray(frames[start : start + BATCH], np.float32).transpose(0, 3, 1, 2)
                parts.append(self.network(torch.from_numpy(np.ascontiguousarray(batch))).numpy())
        return np.concatenate(parts)


def discriminants(vectors: FloatArray, people: NDArray[np.int64]) -> FloatArray:
    """Directions ``[e, d]`` that separate people best relative to their own spread, scaled by how well (Fisher 1936).

    The spread within people is shrunk a tenth of the way towards a sphere, for there are few pictures of each.
    """
    _, who = np.unique(people, return_inverse=True)
    centred = np.asarray(vectors - vectors.mean(0), np.float64)
    means = np.zeros((who.max() + 1, vectors.shape[1]))
    np.add.at(means, who, centred)
    means /= np.bincount(who)[:, None]
    within, between = np.cov(centred - means[who], rowvar=False), np.cov(means, rowvar=False)
    within = 0.9 * within + (0.1 * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    gain, directions = eigh(between, within)
    return np.asarray(directions * np.sqrt(np.maximum(gain, 0)), np.float32)
