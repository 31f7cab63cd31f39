"""One population of faces against every attacker, through the lens under test and through its controls."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from opticaldr.errors import Refusal
from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attacks import (
    Attack,
    Captures,
    Ground,
    OffTheShelf,
    Reading,
    Retrained,
    ladder,
)
from opticaldr.models.evaluation.controls import matched_controls, positive_control
from opticaldr.models.evaluation.faces import check_disjoint, check_repeated
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.recognisers import PixelRecogniser
from opticaldr.models.evaluation.subject import WINDOW, Subject
from opticaldr.models.evaluation.utility import expression_accuracy
from opticaldr.models.evaluation.verification import Embedded, measure, roc_points, shuffled_null
from opticaldr.models.evaluation.views import View, capture, mean_width, sharp

PROTOCOLS = ("clean gallery", "captures only")

WEAK = 0.9
"""A recogniser below this AUC on clean pictures is no attacker, and an attack below it on a mild blur no
attack."""


@dataclass(frozen=True)
class Row:
    """One attacker with one recogniser, one protocol, one optic.

    ``clean gallery``: enrolled from clean pictures, probed with captures (or what was restored from them).
    ``captures only``: captures compared with one another.
    """

    view: str
    attacker: str
    recogniser: str
    protocol: str
    figures: dict[str, Interval]
    roc: dict[str, list[float]] = field(repr=False)
    notes: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def auc(self) -> Interval:
        """Verification AUC."""
        return self.figures["auc"]


@dataclass(frozen=True)
class Study:
    """What came out for one population.

    Attributes:
        population: name of it.
        people, pictures: how many of each were tested.
        subject: name of the view under test.
        widths: mean EE50 of every view, superpixels.
        recognisers: clean AUC of each off-the-shelf recogniser, of the refused ones too.
        refused: names of those too weak to be attackers.
        rows: all results.
        by_depth: AUC of the worst case at each depth in metres.
        null: AUC with names shuffled.
        expression: accuracy on the captures of every view, where expressions are known.
        shown: pictures ``clean``, ``captured`` and after each reconstruction, ``[n, y, x, 3]``.
    """

    population: str
    people: int
    pictures: int
    subject: str
    widths: dict[str, float]
    recognisers: dict[str, Interval]
    refused: list[str]
    rows: list[Row]
    by_depth: dict[str, Interval]
    null: Interval
    expression: dict[str, Interval]
    shown: dict[str, FloatArray]

    def of(self, view: str) -> list[Row]:
        """Rows of one view."""
        return [row for row in self.rows if row.view == view]

    def worst(self, view: str | None = None) -> Row:
        """The strongest attack on a view, the lens under test if none is named."""
        return max(self.of(view or self.subject), key=lambda row: row.auc.value)

    @property
    def faults(self) -> list[str]:
        """Why the study proves nothing; empty if it is sound."""
        found = []
        mild = self.worst(positive_control(1).name).auc
        if mild.value < WEAK:
            found.append(f"the attackers do not even see through a mild blur (AUC {mild})")
        if not self.null.low <= 0.5 <= self.null.high:
            found.append(f"with names shuffled the AUC is {self.null}, not 0.5")
        return found


def run_study(
    population: str, ground: Ground, subject: Subject, *, budget: str, utility_epochs: int, replicates: int
) -> Study:
    """Every attacker on the lens under test, A0 and A1 on its controls.

    Args:
        population: name of it.
        ground: people, recognisers and attackers' schedule; recognisers that fail on clean pictures are
            dropped.
        subject: the optics.
        budget: of the ladder.
        utility_epochs: training of the expression network; 0 where expressions are not known.
        replicates: of the bootstrap.

    Raises:
        Refusal: people with a single picture, people both in training and in test, or no recogniser left.
    """
    check_repeated(ground.test)
    check_disjoint(ground.train, ground.test)
    clean_auc, refused = _clean_figures(ground, replicates)
    usable = [r for r in ground.recognisers if r.name not in refused]
    if not usable:
        worst = ", ".join(f"{name} {clean_auc[name]}" for name in refused)
        raise Refusal(f"no recogniser knows the clean faces (AUC {worst})", "give a better --recogniser")
    ground = replace(ground, recognisers=[*usable, PixelRecogniser()])
    plan = _plan(ground, subject, budget)
    faces_key = store.content_key(*_contents(ground), subject.spec.sensor.model_dump_json())
    rows: list[Row] = []
    expression: dict[str, Interval] = {}
    shown = {"clean": ground.test.scenes[ground.shown]}
    null, by_depth = Interval(0.5, 0.5, 0.5), {}
    for done, (view, attacks) in enumerate(plan):
        film = cache(lambda view=view: _film(view, ground, subject))
        key = store.content_key(faces_key, view.name, np.asarray(view.bank))
        readings = [r for attack in attacks for r in _remembered(attack, ground, view, film, key)]
        found = _measured(view, readings, ground, replicates)
        rows += found
        if view is subject.view:
            shown |= _shown(view, readings, ground, subject)
            strongest = max(range(len(found)), key=lambda n: found[n].auc.value)
            reading, protocol = readings[strongest // len(PROTOCOLS)], found[strongest].protocol
            gallery, probes = _sides(reading, ground, protocol)
            null = shuffled_null(gallery, probes, seed=ground.seed)
            by_depth = _by_depth(gallery, probes, ground, subject, replicates)
        if utility_epochs:
            expression[view.name] = _expression(film, ground, utility_epochs, key)
        ground.progress("optics judged", done + 1, len(plan))
    return Study(
        population,
        len(np.unique(ground.test.people)),
        len(ground.test),
        subject.view.name,
        {view.name: mean_width(view.bank) for view, _ in plan},
        clean_auc,
        refused,
        rows,
        by_depth,
        null,
        expression,
        shown,
    )


def _plan(ground: Ground, subject: Subject, budget: str) -> list[tuple[View, Sequence[Attack]]]:
    """Every view with the attackers it meets: ceiling, lens, positive control, matched controls."""
    depths = subject.depths
    width = mean_width(subject.view.bank)
    briefly: list[Attack] = [OffTheShelf(), Retrained()]
    return [
        (sharp(len(depths)), [OffTheShelf()]),
        (subject.view, ladder(budget)),
        (positive_control(len(depths)), briefly),
        *(
            (view, briefly)
            for view in matched_controls(width, subject.spec, depths, window=WINDOW, seed=ground.seed)
        ),
    ]


def _clean_figures(ground: Ground, replicates: int) -> tuple[dict[str, Interval], list[str]]:
    """Clean AUC of every recogniser, and which of them are too weak to be attackers."""
    clean = {}
    for recogniser in ground.recognisers:
        faces = _embedded(ground.gallery(recogniser), ground)
        figures = measure(faces, faces, seed=ground.seed, replicates=replicates)
        clean[recogniser.name] = figures["auc"]
    return clean, [name for name, auc in clean.items() if not auc.value >= WEAK]


def _embedded(vectors: FloatArray, ground: Ground) -> Embedded:
    return Embedded(vectors, ground.test.people, ground.test.sessions)


def _sides(reading: Reading, ground: Ground, protocol: str) -> tuple[Embedded, Embedded]:
    """Gallery and probes of a protocol; the same object twice where captures are compared with one
    another."""
    probes = _embedded(reading.probes, ground)
    if protocol == "captures only":
        return probes, probes
    return _embedded(reading.gallery, ground).one_each(), probes


def _measured(view: View, readings: Sequence[Reading], ground: Ground, replicates: int) -> list[Row]:
    """Rows of all readings, protocol by protocol."""

    def row(task: tuple[Reading, str]) -> Row:
        reading, protocol = task
        gallery, probes = _sides(reading, ground, protocol)
        figures = measure(gallery, probes, seed=ground.seed, replicates=replicates)
        curve = roc_points(gallery, probes)
        return Row(view.name, reading.attacker, reading.recogniser, protocol, figures, curve, reading.notes)

    tasks = [(reading, protocol) for reading in readings for protocol in PROTOCOLS]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(row, tasks))


def _by_depth(
    gallery: Embedded, probes: Embedded, ground: Ground, subject: Subject, replicates: int
) -> dict[str, Interval]:
    """AUC of the probes at each depth against the whole gallery."""
    found = {}
    for index, depth in enumerate(subject.depths):
        here = probes.take(ground.test.depths == index)
        if len(np.unique(here.people)) > 1:
            figures = measure(gallery, here, seed=ground.seed, replicates=replicates)
            found[f"{depth:.2f} m"] = figures["auc"]
    return found


def _film(view: View, ground: Ground, subject: Subject) -> Captures:
    """Training and test people through a view, with independent noise."""
    sensor, seed, progress = subject.spec.sensor, ground.seed, ground.progress
    return Captures(
        capture(view, ground.train, sensor, seed=2 * seed, progress=progress),
        capture(view, ground.test, sensor, seed=2 * seed + 1, progress=progress),
    )


def _shown(
    view: View, readings: Sequence[Reading], ground: Ground, subject: Subject
) -> dict[str, FloatArray]:
    """Captures and reconstructions of the pictures that the report shows."""
    few = ground.test.take(ground.shown)
    captured = capture(view, few, subject.spec.sensor, seed=2 * ground.seed + 1)
    return {"captured": captured} | {r.attacker: r.restored for r in readings if r.restored is not None}


def _contents(ground: Ground) -> Iterator[Any]:
    """Everything about people and recognisers that a reading depends on."""
    for faces in (ground.train, ground.test):
        yield from (faces.scenes, faces.people, faces.sessions, faces.landmarks, faces.depths)
    for recogniser in ground.recognisers:
        yield recogniser.name
        yield ground.gallery(recogniser)
    yield [ground.base.name, asdict(ground.schedule), ground.seed]


def _remembered(
    attack: Attack, ground: Ground, view: View, film: Callable[[], Captures], key: str
) -> Iterator[Reading]:
    """The attack's readings, from the cache if the very same attack was made before."""

    def compute() -> store.Arrays:
        arrays: store.Arrays = {}
        for n, r in enumerate(attack.read(ground, view, film())):
            arrays |= {f"{n}.gallery": r.gallery, f"{n}.probes": r.probes}
            arrays[f"{n}.about"] = np.array(json.dumps([r.attacker, r.recogniser, r.notes]))
            if r.restored is not None:
                arrays[f"{n}.restored"] = r.restored
        return arrays

    arrays = store.remember(store.content_key(key, attack.name, getattr(attack, "retrain", None)), compute)
    for n in range(sum(name.endswith(".about") for name in arrays)):
        attacker, recogniser, notes = json.loads(str(arrays[f"{n}.about"]))
        yield Reading(
            attacker,
            recogniser,
            arrays[f"{n}.gallery"],
            arrays[f"{n}.probes"],
            arrays.get(f"{n}.restored"),
            notes,
        )


def _expression(film: Callable[[], Captures], ground: Ground, epochs: int, key: str) -> Interval:
    """Expression accuracy on the captures, remembered."""

    def compute() -> store.Arrays:
        accuracy = expression_accuracy(film(), ground.train, ground.test, epochs=epochs, seed=ground.seed)
        return {"accuracy": np.array(accuracy.json())}

    return Interval(
        *store.remember(store.content_key(key, "expression", epochs), compute)["accuracy"].tolist()
    )
