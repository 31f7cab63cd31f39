"""How much of the gap between design and as built an adaptation closes, on hidden builds and against a ceiling.

Through the twin: a hidden build is drawn, its PSFs are the wave optics of what was built with the errors of a
measurement added, and not a bench session of an hour each. People are filmed at distances that no calibration
measured; testing uses the true PSFs at those, adapting only the measured ones.
"""

import copy
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figure import Figure, main
from opticaldr.artefacts import Artefact
from opticaldr.calibration.measured import Measured
from opticaldr.hardware.as_built import BuildErrors, Tolerances, build
from opticaldr.models.networks import Compact, FactorScale, TemporalHead, load_networks
from opticaldr.models.optics import Optic, psf_bank
from opticaldr.models.training import DesignConfig, FinetuneConfig, design_lens
from opticaldr.models.training.adaptation import (
    Adapter,
    MeasuredCamera,
    Places,
    align_statistics,
    held_out,
)
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import load_config
from opticaldr.models.training.figures import embed
from opticaldr.models.training.finetune import OTHER_PEOPLE
from opticaldr.models.training.loop import Work
from opticaldr.models.training.pool import Pool, film

STRENGTHS = (4.0, 8.0, 12.0, 16.0, 24.0)
"""Build errors in units of what a workshop quotes; at 2 the default design loses nothing yet."""
CEILING = 3
"""Steps of networks from scratch, in units of the design's, whose own had begun with the lens."""
DENSE, SPARSE = (0.4, 0.5, 0.6, 0.7, 0.9, 1.2), (0.4, 0.6, 1.2)
"""Depths of a whole and of a quick bench session, metres."""
NOISE = 0.003
"""Standard error of a measured PSF in fractions of its peak."""
DRAWS = 2000


@dataclass(frozen=True)
class Errors:
    """Errors of one set of networks on unseen people: ``[session]``, in shares of the variance and points."""

    factors: NDArray[np.float64]
    score: NDArray[np.float64]


def judge(
    network: Compact, head: TemporalHead, scale: FactorScale, people: Pool, camera: Camera, seed: int
) -> Errors:
    """Take both errors of every session."""
    windows = embed(network, people, camera, seed)
    head.eval()
    with torch.no_grad():
        truth = scale.standardise(people.factors)
        unexplained = (network.factors(windows) - truth).square().mean(1)
        share = (unexplained / truth.flatten(0, 1).var(0, correction=0)).mean(1)
        score = (head(windows)[0] - people.score).abs()
    return Errors(share.double().numpy(), score.double().numpy())


def measure(optic: Optic, depths: Sequence[float], side: int, seed: int) -> tuple[Measured, MeasuredCamera]:
    """What a bench would say of the built optic on axis, and the camera that is made of it."""
    true = psf_bank(
        optic.height.astype(np.float32), optic.spec, depths, fields=[(0.0, 0.0)], shape=(side, side)
    )
    error = NOISE * np.broadcast_to(true.max(axis=(-2, -1), keepdims=True), true.shape)
    bank = true + error * np.random.default_rng(seed).standard_normal(true.shape)
    measured = Measured(optic.spec, bank, tuple(depths), np.zeros((1, 2)))
    views, errors = (torch.as_tensor(np.array(a), dtype=torch.float32).flatten(0, 1) for a in (bank, error))
    return measured, MeasuredCamera(views, optic.spec.sensor, errors)


def closures(design: Artefact) -> list[Figure]:
    """Adapt a design's networks to hidden builds and count what is closed."""
    designed = Optic.read(design.path)
    made_with = load_config(DesignConfig, design.file("config.toml"))
    seed, subjects, side = design.manifest.seed or 0, made_with.subjects, made_with.lens.psf
    size = designed.spec.sensor.binned_shape[0]
    train = film(range(subjects.train), subjects, designed.spec, seed)
    test = film(range(OTHER_PEOPLE, OTHER_PEOPLE + subjects.test), subjects, designed.spec, seed)
    config = FinetuneConfig()
    some = train.sessions(train.subject < config.subjects.train)
    few = train.sessions(train.subject < config.subjects.train // 10)
    known: dict[str, list[Errors]] = {}
    for number, strength in enumerate(STRENGTHS):
        built = build(designed, BuildErrors.draw(scaled(strength), np.random.default_rng((seed, number))))
        truth = designed_camera(built.height, built.spec, subjects.depths, side)

        def networks() -> tuple[Compact, TemporalHead, FactorScale]:
            return load_networks(design.file("networks.safetensors"), size)

        network, head, scale = networks()
        found = {"before": judge(network, head, scale, test, truth, seed)}
        found["design"] = judge(
            network,
            head,
            scale,
            test,
            designed_camera(designed.height, designed.spec, subjects.depths, side),
            seed,
        )

        def adapted(
            people: Pool,
            depths: Sequence[float],
            chosen: FinetuneConfig,
            start: tuple[Compact, TemporalHead, FactorScale],
            optic: Optic = built,
            number: int = number,
        ) -> tuple[Compact, TemporalHead, FactorScale]:
            network, head, scale = start
            measured, camera = measure(optic, depths, side, number)
            learn, stop = held_out(people)
            places = Places(measured, subjects.depths)
            with tempfile.TemporaryDirectory() as folder:
                adapter = Adapter(
                    chosen, learn, stop, camera, places, Work(Path(folder), "head", "x"), seed, quiet
                )
                adapter.network(network, scale)
                if not chosen.anchor:
                    head.standardise(embed(network, places.fixed(learn, seed), camera, seed))
                adapter.head(head, network)
            return network, head, scale

        found["adapted"] = judge(*adapted(some, DENSE, config, networks()), test, truth, seed)
        found["3 depths"] = judge(*adapted(some, SPARSE, config, networks()), test, truth, seed)
        found["1/10 of the clips"] = judge(*adapted(few, DENSE, config, networks()), test, truth, seed)
        blind = copy.deepcopy(network)
        measured, camera = measure(built, DENSE, side, number)
        with tempfile.TemporaryDirectory() as folder:
            unlabelled = Adapter(
                config,
                some,
                some,
                camera,
                Places(measured, subjects.depths),
                Work(Path(folder), "head", "x"),
                seed,
                quiet,
            ).unlabelled()
        align_statistics(blind, unlabelled)
        found["unlabelled"] = judge(blind, head, scale, test, truth, seed)
        scratch = config.model_copy(
            update={
                "networks": made_with.networks.model_copy(
                    update={"steps": CEILING * made_with.networks.steps}
                ),
                "head": made_with.head,
                "anchor": 0.0,
            }
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            fresh = (
                Compact(size=size).to(memory_format=torch.channels_last),
                TemporalHead(),
                FactorScale.of(train.factors),
            )
        found["ceiling"] = judge(*adapted(train, DENSE, scratch, fresh), test, truth, seed)
        for name, errors in found.items():
            known.setdefault(name, []).append(errors)
        summary = ", ".join(f"{n} {e.factors.mean():.3f}/{e.score.mean():.2f}" for n, e in found.items())
        print(f"build {number + 1} at {strength:g} x tolerance: {summary}", file=sys.stderr, flush=True)
    return [
        figure
        for name in ("adapted", "3 depths", "1/10 of the clips", "unlabelled")
        for figure in closed(name, known, test.subject.numpy())
    ] + [
        Figure(f"factor error, {name}", float(np.mean([e.factors.mean() for e in errors])), "of variance")
        for name, errors in known.items()
    ]


def closed(name: str, known: dict[str, list[Errors]], people: NDArray[np.int64]) -> list[Figure]:
    """Closure of the factors' gap pooled over builds, its 95 % interval over builds and people, and the worst."""
    before, after, ceiling = (np.stack([e.factors for e in known[n]]) for n in ("before", name, "ceiling"))
    rng, numbers = np.random.default_rng(0), np.unique(people)
    drawn = []
    for _ in range(DRAWS):
        builds = rng.integers(len(before), size=len(before))
        rows = np.concatenate([np.flatnonzero(people == n) for n in rng.choice(numbers, len(numbers))])
        drawn.append(share(*(errors[np.ix_(builds, rows)] for errors in (before, after, ceiling))))
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    label = f"closure, {name}"
    goal = None if name == "unlabelled" else 0.9
    worst = np.nanmin([share(*(e[[b]] for e in (before, after, ceiling))) for b in range(len(before))])
    return [
        Figure(label, share(before, after, ceiling), "", goal, "higher", "networks trained from scratch"),
        Figure(f"{label}: interval from", float(low), "", None, "higher"),
        Figure(f"{label}: interval to", float(high), "", None, "higher"),
        Figure(f"{label}: worst build", float(worst), "", None, "higher"),
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
    """Learn the default design and take the closures on it."""
    with tempfile.TemporaryDirectory() as folder:
        return closures(design_lens(DesignConfig(), Path(folder, "design"), 0))


if __name__ == "__main__":
    main("adapt", figures)
