"""How much of the gap between design and as built an adaptation closes, on hidden builds and against a ceiling.

Through the twin: a hidden build of the shipped reference design is drawn, its PSFs are the wave optics of what was
built with the errors of a measurement added, and not a bench session of an hour each. People are filmed at distances
that no calibration measured; testing uses the true PSFs at those, adapting only the measured ones. Adapting takes
the defaults of ``opticaldr finetune``; clips are cut to four frames, so that it ends in ten minutes of one core.
"""

from __future__ import annotations

import sys
import tempfile
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
STRENGTHS = (12.0, 16.0, 24.0, 24.0, 32.0)
"""Build errors in units of what a workshop quotes; at 8 this design loses nothing yet."""
CEILING = 2
"""Steps of the ceiling in units of an adaptation's: the design's networks, on all training people and the true
PSFs. Networks from scratch are no ceiling: after as many steps as the design's they are behind the un-adapted."""
DENSE = (0.4, 0.48, 0.58, 0.72, 0.95, 1.2)
SPARSE = [0, 2, 5]
"""Depths of a whole bench session, metres, and which of them a quick one measures."""
NOISE = 0.003
"""Standard error of a measured PSF in fractions of its peak."""
DRAWS = 2000

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
    for number, strength in enumerate(STRENGTHS):
        built = build(designed, BuildErrors.draw(scaled(strength), np.random.default_rng((SEED, number))))
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
        print(f"build {number + 1} at {strength:g} x tolerance: {summary}", file=sys.stderr, flush=True)
    return [
        figure
        for name in ("adapted", "3 depths", "1/10 of the clips", "unlabelled")
        for figure in closed(name, known, test.subject.numpy())
    ] + [
        figure
        for name, errors in known.items()
        for figure in (
            Figure(
                f"factor error, {name}", float(np.mean([e.factors.mean() for e in errors])), "of variance"
            ),
            Figure(f"BDI-II error, {name}", float(np.mean([e.score.mean() for e in errors])), "points"),
        )
    ]


def closed(name: str, known: dict[str, list[Errors]], people: NDArray[np.int64]) -> list[Figure]:
    """Closure of the factors' gap pooled over builds, its 95 % interval over builds and people, and the worst.

    Where there is no gap its closing is not defined; the gap is given in its place.
    """
    before, after, ceiling = (np.stack([e.factors for e in known[n]]) for n in ("before", name, "ceiling"))
    label, pooled = f"closure, {name}", share(before, after, ceiling)
    if np.isnan(pooled):
        return [Figure(f"{label}: undefined; gap", float(before.mean() - ceiling.mean()), "of variance")]
    rng, numbers = np.random.default_rng(0), np.unique(people)
    drawn = []
    for _ in range(DRAWS):
        builds = rng.integers(len(before), size=len(before))
        rows = np.concatenate([np.flatnonzero(people == n) for n in rng.choice(numbers, len(numbers))])
        drawn.append(share(*(errors[np.ix_(builds, rows)] for errors in (before, after, ceiling))))
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    goal = None if name == "unlabelled" else 0.9
    worst = np.nanmin([share(*(e[[b]] for e in (before, after, ceiling))) for b in range(len(before))])
    return [
        Figure(label, pooled, "", goal, "higher", "the ceiling"),
        Figure(f"{label}: interval from", float(low), "", None, "higher"),
        Figure(f"{label}: interval to", float(high), "", None, "higher"),
        Figure(f"{label}: worst build with a gap", float(worst), "", None, "higher"),
    ]


def share(before: NDArray[np.float64], after: NDArray[np.float64], ceiling: NDArray[np.float64]) -> float:
    """(before - after) / (before - ceiling) of mean errors; NaN where the gap is below 2 % of the ceiling."""
    gap = before.mean() - ceiling.mean()
    return float((before.mean() - after.mean()) / gap) if gap > 0.02 * ceiling.mean() else float("nan")


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
