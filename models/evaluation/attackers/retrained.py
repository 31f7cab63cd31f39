"""A1 and A2: a recogniser trained on what the optic leaves of other people's faces."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.recognisers import NetworkRecogniser
from opticaldr.models.evaluation.retraining import train_recogniser
from opticaldr.models.evaluation.views import Captures, View
from opticaldr.models.networks import Recogniser as RecogniserNetwork

FROM_SCRATCH = 2
"""How many times as long a network trains that starts from nothing."""


@dataclass(frozen=True)
class Retrained:
    """A1 and A2 in one: a network trained on captures, with a margin loss and pulled towards clean vectors.

    Its vectors can be compared with one another (A1) and, because of the pull, with a clean gallery (A2). It
    starts from weights that know clean faces, or from scratch.
    """

    name: str = "A1 retrained"
    start: Literal["clean", "scratch"] = "clean"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        schedule, start = ground.schedule, None
        if self.start == "clean":
            start = clean_network(ground)
        else:
            schedule = replace(schedule, epochs=FROM_SCRATCH * schedule.epochs)
        size = ground.crop
        network, curve = train_recogniser(
            align(captures.train, ground.train.landmarks, size),
            ground.train.people,
            schedule,
            seed=ground.seed,
            start=start,
            towards=ground.teaching(),
            stage=f"train {self.name}",
            progress=ground.progress,
        )
        student = NetworkRecogniser(network, size, f"student of {ground.base.name}")
        probes = student.embed(captures.test, ground.test.landmarks)
        gallery = ground.gallery(ground.base)
        yield Reading(self.name, student.name, gallery, probes, notes={"loss": curve, "start": self.start})


def clean_network(ground: Ground) -> RecogniserNetwork:
    """Weights that know clean faces: the base's own, or those of a student that was taught by it on the clean
    training pictures."""
    if isinstance(ground.base, NetworkRecogniser):
        return ground.base.network
    crops, towards = align(ground.train.scenes, ground.train.landmarks, ground.crop), ground.teaching()

    def compute() -> store.Arrays:
        network, _ = train_recogniser(
            crops,
            ground.train.people,
            ground.schedule,
            seed=ground.seed,
            towards=towards,
            stage="train clean student",
            progress=ground.progress,
        )
        return {name: value.numpy() for name, value in network.state_dict().items()}

    key = store.content_key("student", crops, towards, repr(ground.schedule), ground.seed)
    weights = store.remember(key, compute)
    network = RecogniserNetwork(towards.shape[1], size=ground.crop)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.eval()
