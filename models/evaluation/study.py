"""One population of faces against every attacker, through the lens under test and through its controls."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from opticaldr.errors import Refusal
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers import Attack, Ground, OffTheShelf, Reading, Retrained, ladder
from opticaldr.models.evaluation.budgets import Budget
from opticaldr.models.evaluation.controls import Match, families, match, positive_control
from opticaldr.models.evaluation.faces import check_disjoint, check_repeated
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.recognisers import PixelRecogniser
from opticaldr.models.evaluation.score import Recordings, excess_error
from opticaldr.models.evaluation.subject import WINDOW, Subject
from opticaldr.models.evaluation.trial import Trial, people_key
from opticaldr.models.evaluation.utility import Utility, regression
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
        utility: what can be read off the captures of every view, where expressions are known.
        scores: error of the depression score behind the lens, its controls and no lens, beside the constant predictor's
            and (``mae_above_lens``) the lens's; empty without clips.
        matches: how well each control's utility meets the lens's.
        shown: pictures ``clean``, ``captured`` and after each reconstruction, ``[n, y, x, 3]``.
        cases: whom the strongest attacker recognises most clearly, and whom it takes for somebody else.
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
    utility: dict[str, Utility]
    scores: dict[str, dict[str, Interval]]
    matches: list[Match]
    shown: dict[str, FloatArray]
    cases: dict[str, FloatArray]

    def of(self, view: str) -> list[Row]:
        """Rows of one view."""
        return [row for row in self.rows if row.view == view]

    def worst(self, view: str | None = None) -> Row:
        """The strongest attack on a view, the lens under test if none is named."""
        return max(self.of(view or self.subject), key=lambda row: row.auc.value)

    @property
    def controls(self) -> list[str]:
        """Names of the optics that the lens is set beside."""
        ends = (self.subject, sharp(1).name, positive_control(1).name)
        return [name for name in self.widths if name not in ends]

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
    population: str,
    ground: Ground,
    subject: Subject,
    spend: Budget,
    *,
    controls: Sequence[View] = (),
    attacks: Sequence[Attack] | None = None,
    recordings: Recordings | None = None,
    start: Mapping[int, float] | None = None,
    beyond: Sequence[tuple[View, Sequence[Attack]]] = (),
) -> Study:
    """Every attacker on the lens under test, A0 and A1 on its controls.

    Args:
        population: name of it.
        ground: people, recognisers and attackers' schedule; recognisers that fail on clean pictures are
            dropped.
        subject: the optics.
        spend: how much.
        controls: the optics to set the lens beside; where expressions are known they are tuned here to the
            lens's utility instead.
        attacks: who attacks the lens; the budget's ladder if None.
        recordings: clips on which the depression score is learned and tried behind each optic.
        start: the surface that the lens was before it learned, Noll index to metres; a control of its own.
        beyond: further optics, each with those who attack it.

    Raises:
        Refusal: people with a single picture, people both in training and in test, or no recogniser left.
    """
    check_repeated(ground.test)
    check_disjoint(ground.train, ground.test)
    clean_auc, refused = require_known_faces(ground, spend.replicates)
    usable = [r for r in ground.recognisers if r.name not in refused]
    ground = replace(ground, recognisers=[*usable, PixelRecogniser()])
    key = people_key(ground)

    def trial(view: View) -> Trial:
        return Trial(view, ground, key)

    depths = len(subject.depths)
    lens, ceiling, mild = trial(subject.view), trial(sharp(depths)), trial(positive_control(depths))
    utility: dict[str, Utility] = {}
    matches: list[Match] = []
    if spend.utility:
        utility = {t.view.name: t.utility(spend.utility) for t in (lens, ceiling, mild)}
        matches = _matched(trial, subject, utility[subject.view.name].expression, spend, ground, start)
        controls = [found.view for found in matches]
    beside = [trial(view) for view in controls]
    utility |= {t.view.name: t.utility(spend.utility) for t in beside if spend.utility}
    scores = _scored([lens, ceiling, *beside], recordings, ground) if recordings is not None else {}

    rows: list[Row] = []
    whole = ladder(spend.ladder, subject, ground.seed) if attacks is None else attacks
    plan: list[tuple[Trial, Sequence[Attack]]] = [
        (lens, whole),
        (ceiling, [OffTheShelf()]),
    ]
    plan += [(control, [OffTheShelf(), Retrained()]) for control in (mild, *beside)]
    plan += [(trial(view), against) for view, against in beyond]
    for done, (one, attacks) in enumerate(plan):
        ground.progress("optics judged", done, len(plan))
        readings = []
        for attack in attacks:
            ground.progress(attack.name, 0, 1)
            readings += one.readings(attack)
            ground.progress(attack.name, 1, 1)
        found = _measured(one.view, readings, ground, spend.replicates)
        rows += found
        if one is lens:
            shown = {"clean": ground.test.scenes[ground.shown]} | _shown(lens, readings)
            strongest = max(range(len(found)), key=lambda n: found[n].auc.value)
            reading, protocol = readings[strongest // len(PROTOCOLS)], found[strongest].protocol
            gallery, probes = _sides(reading, ground, protocol)
            cases = _cases(lens, reading)
            null = shuffled_null(gallery, probes, seed=ground.seed)
            by_depth = _by_depth(gallery, probes, ground, subject, spend.replicates)
        vars(one).pop("captures", None)  # a thousand frames of which nobody has further need
        ground.progress("optics judged", done + 1, len(plan))
    return Study(
        population,
        len(np.unique(ground.test.people)),
        len(ground.test),
        subject.view.name,
        {one.view.name: mean_width(one.view.bank) for one, _ in plan},
        clean_auc,
        refused,
        rows,
        by_depth,
        null,
        utility,
        scores,
        matches,
        shown,
        cases,
    )


def _matched(
    trial: Callable[[View], Trial],
    subject: Subject,
    goal: Interval,
    spend: Budget,
    ground: Ground,
    start: Mapping[int, float] | None,
) -> list[Match]:
    """Every kind of control at the strength at which its utility is the lens's."""
    width, matches = mean_width(subject.view.bank), []
    kinds = families(subject.spec, subject.depths, window=WINDOW, seed=ground.seed, start=start)
    for family in kinds:
        found = match(
            family, goal, width, lambda view: trial(view).utility(spend.utility).expression, tries=spend.tries
        )
        matches.append(found)
        ground.progress("tune controls", len(matches), len(kinds))
    return matches


def _scored(
    trials: Sequence[Trial], recordings: Recordings, ground: Ground
) -> dict[str, dict[str, Interval]]:
    """Error of the depression score behind every optic, the lens under test first."""
    found, lens = {}, trials[0].scores(recordings)
    for done, one in enumerate(trials):
        said = one.scores(recordings)
        above = excess_error(said, lens, seed=ground.seed)
        found[one.view.name] = regression(said, seed=ground.seed) | {"mae_above_lens": above}
        ground.progress("scores judged", done + 1, len(trials))
    return found


def require_known_faces(ground: Ground, replicates: int = 40) -> tuple[dict[str, Interval], list[str]]:
    """Clean AUC of every recogniser, and which of them are too weak to be attackers; refuses if all are."""
    clean = {}
    for recogniser in ground.recognisers:
        faces = _embedded(ground.gallery(recogniser), ground)
        figures = measure(faces, faces, seed=ground.seed, replicates=replicates)
        clean[recogniser.name] = figures["auc"]
    refused = [name for name, auc in clean.items() if not auc.value >= WEAK]
    if len(refused) == len(clean):
        worst = ", ".join(f"{name} {clean[name]}" for name in refused)
        raise Refusal(
            f"no recogniser knows the clean faces (AUC {worst}; at least {WEAK} is needed)",
            "check size, channels, mean and std in its TOML and the alignment of the pictures, or give a better one",
        )
    return clean, refused


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


def _shown(lens: Trial, readings: Sequence[Reading]) -> dict[str, FloatArray]:
    """Captures and reconstructions of the pictures that the report shows."""
    ground = lens.ground
    restored = {r.attacker: r.restored for r in readings if r.restored is not None}
    captured = capture(lens.view, ground.test.take(ground.shown), ground.sensor, seed=2 * ground.seed + 1)
    return {"captured": captured} | {n: r for n, r in restored.items() if not n.endswith(", then A1")}


def _cases(lens: Trial, reading: Reading, count: int = 6) -> dict[str, FloatArray]:
    """Test pictures that an attacker knows most clearly and least, by the lead of the right person's best gallery
    picture of another session over the best of anybody else; one picture a person."""
    test, view = lens.ground.test, lens.view
    scores = reading.probes @ reading.gallery.T
    same = test.people[:, None] == test.people
    right = np.where(same & (test.sessions[:, None] != test.sessions), scores, -np.inf).max(1)
    wrong = np.where(same, -np.inf, scores)
    lead = right - wrong.max(1)
    order = np.argsort(lead)
    first = {"most clearly recognised": order[::-1], "least": order}
    found = {}
    for name, ranked in first.items():
        _, once = np.unique(test.people[ranked], return_index=True)
        index = ranked[np.sort(once)][:count]
        few = test.take(index)
        found[f"{name}: clean"] = few.scenes
        found[f"{name}: captured"] = capture(view, few, lens.ground.sensor, seed=2 * lens.ground.seed + 1)
        if name == "least":
            found["taken for"] = test.scenes[wrong[index].argmax(1)]
    return found
