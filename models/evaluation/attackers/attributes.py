"""A7: not who somebody is but what they look like, read off captures by a network trained on other people's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.faces import Faces
from opticaldr.models.evaluation.recognisers import unit
from opticaldr.models.evaluation.regression import CROP, explained_variance, train_reader
from opticaldr.models.evaluation.views import Captures, View


@dataclass(frozen=True)
class Attributes:
    """A7: a network reads the attributes of `Faces.attributes`; together they are a vector that links people.

    The gallery holds each person's true attributes, as an identity document would. Without known attributes there
    is nothing to learn from, and nothing is read.
    """

    epochs: int
    name: str = "A7 attributes"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        if not ground.train.attributes:
            return
        known, truth = _table(ground.train), _table(ground.test)
        crops = align(captures.train, ground.train.landmarks, CROP)
        read = train_reader(crops, known, epochs=self.epochs, seed=ground.seed)
        said = read(align(captures.test, ground.test.landmarks, CROP))
        figures = {
            name: explained_variance(said[:, [n]], truth[:, [n]], ground.test.people, seed=ground.seed).json()
            for n, name in enumerate(ground.train.attributes)
        }
        centre, spread = known.mean(0), known.std(0)
        gallery, probes = (unit((table - centre) / spread) for table in (truth, said))
        yield Reading(self.name, "attributes", gallery, probes, notes={"attributes_r2": figures})


def _table(faces: Faces) -> FloatArray:
    return np.stack(list(faces.attributes.values()), axis=1)
