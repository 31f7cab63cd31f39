"""One optic before everybody: filmed, attacked and used, each remembered by the content it depends on."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.attackers import Attack, Ground, Reading
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.score import Recordings, read_scores
from opticaldr.models.evaluation.utility import Estimates, Utility, measure_utility
from opticaldr.models.evaluation.views import Captures, View, capture


class Trial:
    """One optic and what is found out about it.

    Args:
        view: the optic.
        ground: people, recognisers, sensor, attackers' schedule.
        people_key: from `people_key` of the same ground.
    """

    def __init__(self, view: View, ground: Ground, people_key: str) -> None:
        self.view, self.ground = view, ground
        self.key = store.content_key(
            people_key, view.name, np.asarray(view.bank), ground.sensor.model_dump_json(), ground.seed
        )

    @cached_property
    def captures(self) -> Captures:
        """Training and test people through the optic, with independent noise."""
        ground = self.ground
        return Captures(
            capture(self.view, ground.train, ground.sensor, seed=2 * ground.seed, progress=ground.progress),
            capture(
                self.view, ground.test, ground.sensor, seed=2 * ground.seed + 1, progress=ground.progress
            ),
        )

    def readings(self, attack: Attack) -> list[Reading]:
        """What an attacker makes of the test captures."""

        def compute() -> store.Arrays:
            arrays: store.Arrays = {}
            for n, reading in enumerate(attack.read(self.ground, self.view, self.captures)):
                arrays |= {f"{n}.gallery": reading.gallery, f"{n}.probes": reading.probes}
                about = [reading.attacker, reading.recogniser, reading.notes]
                arrays[f"{n}.about"] = np.array(json.dumps(about))
                if reading.restored is not None:
                    arrays[f"{n}.restored"] = reading.restored
            return arrays

        schedule = asdict(self.ground.schedule)
        arrays = store.remember(store.content_key(self.key, schedule, *_settings(attack)), compute)
        found = []
        for n in range(sum(name.endswith(".about") for name in arrays)):
            attacker, recogniser, notes = json.loads(str(arrays[f"{n}.about"]))
            gallery, probes = arrays[f"{n}.gallery"], arrays[f"{n}.probes"]
            found.append(Reading(attacker, recogniser, gallery, probes, arrays.get(f"{n}.restored"), notes))
        return found

    def utility(self, epochs: int) -> Utility:
        """What a network trained for so many epochs reads of expressions."""

        def compute() -> store.Arrays:
            captures = self.captures
            self.ground.progress("read expressions", 0, 1)
            found = measure_utility(
                captures, self.ground.train, self.ground.test, epochs=epochs, seed=self.ground.seed
            )
            self.ground.progress("read expressions", 1, 1)
            return {name: np.array(interval.json()) for name, interval in vars(found).items()}

        arrays = store.remember(store.content_key(self.key, "utility", epochs), compute)
        return Utility(**{name: Interval(*interval.tolist()) for name, interval in arrays.items()})

    def scores(self, recordings: Recordings) -> Estimates:
        """What a network and a head trained behind this optic make of the test people's scores."""

        def compute() -> store.Arrays:
            return {"said": read_scores(self.view, recordings, self.ground.sensor, seed=self.ground.seed)}

        arrays = store.remember(store.content_key(self.key, "scores", recordings.key), compute)
        return recordings.estimates(arrays["said"])


def people_key(ground: Ground) -> str:
    """Hash of everything about people and recognisers that a trial depends on."""

    def contents() -> Iterator[Any]:
        for faces in (ground.train, ground.test):
            yield from (faces.scenes, faces.people, faces.sessions, faces.landmarks, faces.depths)
        for recogniser in ground.recognisers:
            yield from (recogniser.name, ground.gallery(recogniser))
        yield [ground.base.name, ground.tune, ground.shown]

    return store.content_key(*contents())


def _settings(value: Any) -> Iterator[Any]:
    """What tells two attackers apart: their classes and fields; functions by their names, networks by their weights."""
    if isinstance(value, nn.Module):
        for name, tensor in value.state_dict().items():
            yield from (name, tensor.numpy())
    elif is_dataclass(value):
        yield type(value).__name__
        for item in fields(value):
            yield from _settings(getattr(value, item.name))
    else:
        yield value.__qualname__ if callable(value) else value
