"""How much of the gap between design and as built an adaptation closes, on hidden builds and against a ceiling.

Through the twin: a hidden build of the shipped reference design is drawn, its PSFs are the wave optics of what was
built with the errors of a measurement added, and not a bench session of an hour each. People are filmed at distances
that no calibration measured; testing uses the true PSFs at those, adapting only the measured ones. Adapting takes
the defaults of ``opticaldr finetune``; clips are cut to four frames, so that it ends in half an hour of one core.
What is known after each build goes to standard error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figure import Figure, main
from opticaldr.artefacts import Artefact, open_artefact
from opticaldr.calibration.measured import Measured
from opticaldr.hardware.as_built import BuildErrors, Tolerances, build
from opticaldr.models.networks import Compact, FactorScale, TemporalHead, load_networks
from opticaldr.models.optics import Optic, psf_bank
from opticaldr.models.training import DesignConfig, FinetuneConfig
from opticaldr.models.training.adaptation import (
    Adapter,
    MeasuredCamera,
    Places,
    align_statistics,
)
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import load_config
from opticaldr.models.training.figures import embed
from opticaldr.models.training.finetune import OTHER_PEOPLE, STOPPING_PEOPLE
from opticaldr.models.training.loop import Work
from opticaldr.models.training.pool import Pool, film

DESIGN = Path(__file__).parents[1] / "examples" / "clinic" / "design"
SEED = 0
FRAMES = 4
BUILDS, STRENGTH = 5, 24.0
"""How many are drawn, and their errors in units of what a workshop quotes. The first five draws count, whatever
comes out; up to 12 this design loses nothing that could be closed."""
CEILING = 2
"""Steps of the ceiling in units of an adaptation's: the design's networks, on all training people and the true
PSFs. Networks from scratch are no ceiling: after as many steps as the design's they are behind the un-adapted."""
DENSE = (0.4, 0.48, 0.58, 0.72, 0.95, 1.2)
SPARSE = [0, 2, 5]
"""Depths of a whole bench session, metres, and which of them a quick one measures."""
NOISE = 0.003
"""Standard error of a measured PSF in fractions of its peak."""
LEAST_GAP = 0.02
"""Of the ceiling's error: of a build with less, closure is not defined."""
DRAWS = 2000
WHY_FEW = (
    "8 people to learn from and 2 to stop by are few; next: learn from what the design's networks see as well"
)

Networks = tuple[Compact, TemporalHead, FactorScale]


@dataclass(frozen=True)
class Errors:
    """Errors of one set of networks on unseen people: ``[session]``, in shares of the variance and points."""

    factors: NDArray[np.float64]
    score: NDArray[np.float64]


def judge(network: Compact, head: TemporalHead, scale: FactorScale, people: Pool, camera: Camera) -> Errors:
    """Take both errors of every session."""
    windows = embed(network, people, camera, SEED)
    head.eval()
    with torch.no_grad():
        truth = scale.standardise(people.factors)
        unexplained = (network.factors(windows) - truth).square().mean(1)
        share = (unexplained / truth.flatten(0, 1).var(0, correction=0)).mean(1)
        score = (head(windows)[0] - people.score).abs()
    return Errors(share.double().numpy(), score.double().numpy())


@dataclass(frozen=True)
class Session:
    """A bank as a bench measured it on axis, and the camera that is made of it."""

    measured: Measured
    camera: MeasuredCamera

    @classmethod
    def known(cls, truth: Camera, optic: Optic, depths: tuple[float, ...]) -> Self:
        """A session without errors, at the depths where people sit."""
        measured = Measured(optic.spec, truth.bank.numpy()[:, None], depths, np.zeros((1, 2)))
        return cls(measured, MeasuredCamera(truth.bank, truth.sensor, torch.zeros_like(truth.bank)))

    @classmethod
    def of(cls, optic: Optic, side: int, seed: int) -> Self:
        """Measure the optic at every depth of `DENSE`."""
        true = psf_bank(
            optic.height.astype(np.float32), optic.spec, DENSE, fields=[(0.0, 0.0)], shape=(side, side)
        )
        error = NOISE * np.broadcast_to(true.max(axis=(-2, -1), keepdims=True), true.shape)
        bank = true + error * np.random.default_rng(seed).standard_normal(true.shape)
        views, errors = (
            torch.as_tensor(np.array(a), dtype=torch.float32).flatten(0, 1) for a in (bank, error)
        )
        measured = Measured(optic.spec, bank, DENSE, np.zeros((1, 2)))
        return cls(measured, MeasuredCamera(views, optic.spec.sensor, errors))

    def at(self, chosen: list[int]) -> Self:
        """The same session, had it measured no other depths."""
        depths = tuple(DENSE[number] for number in chosen)
        measured = replace(self.measured, bank=self.measured.bank[chosen], depths=depths)
        bank, error = self.camera.bank[chosen], self.camera.error[chosen]
        return replace(self, measured=measured, camera=replace(self.camera, bank=bank, error=error))

    def adapter(self, config: FinetuneConfig, people: People, folder: str) -> Adapter:
        """What adapts to it with these people."""
        places, work = Places(self.measured, people.depths), Work(Path(folder), "head", "x")
        return Adapter(config, people.train, people.held_out, self.camera, places, work, SEED, quiet)


@dataclass(frozen=True)
class People:
    """Who is learned from, who it is stopped by, and the distances they are filmed at."""

    train: Pool
    held_out: Pool
    depths: tuple[float, ...]

    def first(self, train: int, held_out: int) -> Self:
        """Only so many of either."""
        return replace(
            self,
            train=self.train.sessions(self.train.subject < train),
            held_out=self.held_out.sessions(self.held_out.subject < held_out),
        )


def adapted(start: Networks, session: Session, people: People, config: FinetuneConfig) -> Networks:
    """The networks after adapting to what a session measured."""
    network, head, scale = start
    with tempfile.TemporaryDirectory() as folder:
        adapter = session.adapter(config, people, folder)
        adapter.network(network, scale)
        adapter.head(head, network)
    return network, head, scale


def closures(design: Artefact) -> list[Figure]:
    """Adapt a design's networks to hidden builds and count what is closed."""
    designed = Optic.read(design.path)
    made_with = load_config(DesignConfig, design.file("config.toml"))
    subjects, side = made_with.subjects.model_copy(update={"frames": FRAMES}), made_with.lens.psf
    depths, size = subjects.depths, designed.spec.sensor.binned_shape[0]
    config = FinetuneConfig()
    steps = CEILING * config.networks.steps
    longer = config.model_copy(update={"networks": config.networks.model_copy(update={"steps": steps})})
    train, held_out, test = (
        film(range(start, start + count), subjects, designed.spec, SEED)
        for start, count in (
            (0, subjects.train),
            (STOPPING_PEOPLE, config.subjects.validation),
            (OTHER_PEOPLE, subjects.test),
        )
    )
    everybody = People(train, held_out, depths)
    some = everybody.first(config.subjects.train, config.subjects.validation)
    few = everybody.first(config.subjects.train // 10, config.subjects.validation // 10)

    def networks() -> Networks:
        return load_networks(design.file("networks.safetensors"), size)

    ideal = judge(*networks(), test, designed_camera(designed.height, designed.spec, depths, side))
    known: dict[str, list[Errors]] = {}
    for number in range(BUILDS):
        built = build(designed, BuildErrors.draw(scaled(STRENGTH), np.random.default_rng((SEED, number))))
        truth = designed_camera(built.height, built.spec, depths, side)
        exact, dense = Session.known(truth, built, depths), Session.of(built, side, number)
        blind, head, scale = networks()
        with tempfile.TemporaryDirectory() as folder:
            align_statistics(blind, dense.adapter(config, some, folder).unlabelled())
        candidates = {
            "before": networks(),
            "adapted": adapted(networks(), dense, some, config),
            "3 depths": adapted(networks(), dense.at(SPARSE), some, config),
            "1/10 of the clips": adapted(networks(), dense, few, config),
            "unlabelled": (blind, head, scale),
            "ceiling": adapted(networks(), exact, everybody, longer),
        }
        found = {"design": ideal} | {name: judge(*those, test, truth) for name, those in candidates.items()}
        for name, errors in found.items():
            known.setdefault(name, []).append(errors)
        summary = ", ".join(f"{n} {e.factors.mean():.3f}/{e.score.mean():.2f}" for n, e in found.items())
        print(f"build {number + 1}: {summary}", file=sys.stderr, flush=True)
    return [
        figure
        for error, unit in (("factors", "of variance"), ("score", "points"))
        for figure in about(
            error, unit, {n: np.stack([getattr(e, error) for e in those]) for n, those in known.items()}, test
        )
    ]


def about(error: str, unit: str, known: dict[str, NDArray[np.float64]], test: Pool) -> list[Figure]:
    """What is to be said of one kind of error, ``[build, session]`` for every set of networks.

    Means over builds, the gap of every build, and what is closed of the builds' common gap; intervals (95 %) are
    over people, that of what is closed also over builds.
    """
    found = [Figure(f"{error}: error, {name}", float(e.mean()), unit) for name, e in known.items()]
    gaps = known["before"] - known["ceiling"]
    for number, gap in enumerate(gaps):
        low, high = np.quantile([gap[rows].mean() for rows in redrawn(test)], (0.025, 0.975))
        what = f"{error}: gap of build {number + 1}"
        found += [
            Figure(what, float(gap.mean()), unit),
            Figure(f"{what}: interval from", float(low), unit),
            Figure(f"{what}: interval to", float(high), unit),
        ]
    for name, goal in (("adapted", 0.9), ("3 depths", 0.9), ("1/10 of the clips", 0.9), ("unlabelled", None)):
        gain, least = known["before"] - known[name], LEAST_GAP * float(known["ceiling"].mean())
        found += closed(f"{error}: closure, {name}", gain, gaps, least, test, goal)
    return found


def closed(
    label: str,
    gain: NDArray[np.float64],
    gaps: NDArray[np.float64],
    least: float,
    test: Pool,
    goal: float | None,
) -> list[Figure]:
    """Closure, gains over gaps ``[build, session]``, of all builds together, with its interval, and of each whose
    gap is more than the ``least``."""
    rng, builds = np.random.default_rng(0), len(gaps)
    drawn = []
    for rows in redrawn(test):
        which = np.ix_(rng.integers(builds, size=builds), rows)
        drawn.append(gain[which].mean() / gaps[which].mean())
    low, high = np.quantile(drawn, (0.025, 0.975))
    return [
        Figure(label, float(gain.mean() / gaps.mean()), "", goal, "higher", "the ceiling", WHY_FEW),
        Figure(f"{label}: interval from", float(low), "", None, "higher"),
        Figure(f"{label}: interval to", float(high), "", None, "higher"),
        *(
            Figure(f"{label}: build {number + 1}", float(g.mean() / gap.mean()), "", None, "higher")
            for number, (g, gap) in enumerate(zip(gain, gaps, strict=True))
            if gap.mean() > least
        ),
    ]


def redrawn(test: Pool) -> Iterator[NDArray[np.intp]]:
    """Sessions of people who are drawn anew, as many as there are: a bootstrap over people."""
    rng, people = np.random.default_rng(0), test.subject.numpy()
    sessions = [np.flatnonzero(people == one) for one in np.unique(people)]
    for _ in range(DRAWS):
        yield np.concatenate([sessions[number] for number in rng.integers(len(sessions), size=len(sessions))])


def scaled(strength: float) -> Tolerances:
    """Tolerances of a build that is ``strength`` times worse, as far as they are allowed to be."""
    return Tolerances(
        form=min(strength * Tolerances().form, 2e-6),
        decentre=min(strength * Tolerances().decentre, 500e-6),
        rotation=min(strength * Tolerances().rotation, 0.2),
        spacing=min(strength * Tolerances().spacing, 500e-6),
        aperture=min(strength * Tolerances().aperture, 0.05),
    )


def quiet(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def figures() -> list[Figure]:
    """Take the closures on the reference design of the clinic preset."""
    return closures(open_artefact(DESIGN, kind="design"))


if __name__ == "__main__":
    main("adapt", figures)
