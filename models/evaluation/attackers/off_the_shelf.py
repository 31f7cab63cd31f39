"""A0: recognisers as they come."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.views import Captures, View


@dataclass(frozen=True)
class OffTheShelf:
    """A0: recognisers as they come, on the captured image."""

    name: str = "A0 off the shelf"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        for recogniser in ground.recognisers:
            probes = recogniser.embed(captures.test, ground.test.landmarks)
            yield Reading(self.name, recogniser.name, ground.gallery(recogniser), probes)


def read_restored(
    ground: Ground, name: str, restored: FloatArray, notes: dict[str, Any], landmarks: Any = None
) -> Iterator[Reading]:
    """A0 on what another attacker has restored of the test captures, ``[n, y, x, 3]``."""
    marks = ground.test.landmarks if landmarks is None else landmarks
    for recogniser in ground.recognisers:
        probes = recogniser.embed(restored, marks)
        yield Reading(
            name, recogniser.name, ground.gallery(recogniser), probes, restored[ground.shown], notes
        )
