"""Fitting networks to optics that were measured: what is drawn, what may move, when to stop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from opticaldr.artefacts import Artefact
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.calibration.measured import Measured
from opticaldr.models.networks import Compact, FactorScale, TemporalHead, gaussian_nll
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import FinetuneConfig, FitConfig
from opticaldr.models.training.figures import embed
from opticaldr.models.training.loop import Progress, Record, Work, run_stage
from opticaldr.models.training.pool import Pool

CHECK = 10
"""Steps between two looks at the held-out people."""


@dataclass(frozen=True)
class MeasuredCamera(Camera):
    """A camera known by measurement: every capture draws what the measurement leaves open.

    PSFs are drawn within their standard errors, and the response of every superpixel within what the
    sensor's PRNU leaves of it after averaging.

    Attributes:
        error: standard errors of the bank, ``[view, colour, y, x]``; zero where none were stated.
    """

    error: Tensor

    @classmethod
    def of(cls, measured: Measured, calibration: Artefact) -> Self:
        """The camera of a calibration; views count through ``[depth, field]``."""
        bank = torch.as_tensor(measured.bank, dtype=torch.float32).flatten(0, 1)
        with np.load(calibration.file("psf.npz"), allow_pickle=False) as stored:
            if "uncertainty" not in stored:
                return cls(bank, measured.spec.sensor, torch.zeros_like(bank))
            order = np.argsort(np.atleast_1d(stored["depths"]))
            variance = superpixel_bank(
                np.asarray(stored["uncertainty"])[order] ** 2, measured.spec.sensor.binning
            )
        return cls(
            bank,
            measured.spec.sensor,
            torch.as_tensor(np.sqrt(variance), dtype=torch.float32).flatten(0, 1),
        )

    def known(self) -> Camera:
        """The same camera taken at its best estimate."""
        return Camera(self.bank, self.sensor)

    def capture(self, scenes: Tensor, view: Tensor) -> Tensor:
        """As `Camera.capture`, through PSFs and a pixel response drawn anew."""
        drawn = Camera(self.bank + self.error * torch.randn_like(self.error), self.sensor)
        frames = drawn.capture(scenes, view)
        pixels = torch.tensor([self.sensor.bayer.count(colour) for colour in "RGB"]).clamp(min=1)
        left = self.sensor.prnu / (pixels * max(1.0, self.sensor.binning**2 / 4)).sqrt()
        return frames * (1 + left[:, None, None] * torch.randn_like(frames))


class Places:
    """Where sessions filmed at given distances are seen from, in a bank of measured depths and fields.

    A distance between two measured depths falls on either with the chance that linear interpolation in
    1/depth gives it; every field position is as likely as any other.
    """

    def __init__(self, measured: Measured, depths: tuple[float, ...]) -> None:
        powers = 1 / np.array(measured.depths)  # falling
        at = np.interp(1 / np.array(depths), powers[::-1], np.arange(len(powers))[::-1])
        self._at, self._fields = torch.as_tensor(at, dtype=torch.float32), len(measured.fields)

    def draw(self, depth: Tensor) -> Tensor:
        """Views ``[n]`` for sessions at the distances with these indices; draws from the global generator."""
        near = torch.floor(self._at[depth] + torch.rand(len(depth))).long()
        near = near.clamp(max=int(torch.ceil(self._at.max())))
        return near * self._fields + torch.randint(self._fields, (len(depth),))

    def fixed(self, scenes: Pool, seed: int) -> Pool:
        """The pool with a view drawn once for every session."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return replace(scenes, view=self.draw(scenes.view))


class Best:
    """The weights at the lowest loss on held-out people so far: where early stopping goes back to.

    One-cycle rates end low, so a run is taken to its end and the best of its checks kept, rather than cut.

    Args:
        module: whose weights are kept; its present ones count as the first.
        loss: on held-out people.
    """

    def __init__(self, module: nn.Module, loss: Callable[[], Tensor]) -> None:
        self._module, self._loss = module, loss
        self.lowest, self.step, self.weights = float("inf"), 0, copy.deepcopy(module.state_dict())

    def look(self, step: int) -> None:
        """Take the loss after ``step`` steps."""
        self._module.eval()
        with torch.no_grad():
            loss = float(self._loss())
        if loss < self.lowest:
            self.lowest, self.step = loss, step
            self.weights = copy.deepcopy(self._module.state_dict())

    def take(self) -> int:
        """Put the best weights back; returns the number of steps they had."""
        self._module.load_state_dict(self.weights)
        self._module.eval()
        return self.step

    def state_dict(self) -> dict[str, Any]:
        """Everything in it that changes."""
        return {"lowest": self.lowest, "step": self.step, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take the state back."""
        self.lowest, self.step, self.weights = (state_dict[name] for name in ("lowest", "step", "weights"))


@dataclass(frozen=True)
class Adapter:
    """Everything that both fits share.

    Attributes:
        config: what was chosen.
        train: people to learn from, ``view`` their distance as filmed.
        held_out: people to stop by.
        camera: measured.
        places: of the measured bank.
        work: checkpoints.
        seed: of batches and noise.
        progress: called as ``progress(stage, done, total)``.
    """

    config: FinetuneConfig
    train: Pool
    held_out: Pool
    camera: MeasuredCamera
    places: Places
    work: Work
    seed: int
    progress: Progress

    def network(self, network: Compact, scale: FactorScale) -> int:
        """Fit the network, in place, to the factors of captured frames; returns the step that was best.

        With ``adapt = "head"`` nothing moves, with ``"statistics"`` only what batch normalisation remembers
        of unlabelled frames. Else weights are pulled towards where they came from (L2-SP: Li, Grandvalet &
        Davoine, ICML 2018).
        """
        if self.config.adapt == "head":
            return 0
        if self.config.adapt == "statistics":
            align_statistics(network, self.unlabelled())
            return 0
        parameters = [p for p in network.parameters() if self.config.adapt == "all" or p.dim() == 1]
        frames, truth = self._captured(self.held_out)
        best = Best(
            network, lambda: (network.factors(network(frames)) - scale.standardise(truth)).square().mean()
        )

        def loss() -> Tensor:
            rows = torch.randint(len(self.train), (self.config.networks.batch,))
            seen, factors, *_ = self.train.draw(rows)
            captured = self.camera.capture(seen, self.places.draw(self.train.view[rows]))
            return (network.factors(network(captured)) - scale.standardise(factors)).square().mean()

        self._run("network", network, parameters, self.config.networks, loss, best, decay=0.0)
        return best.take()

    def head(self, head: TemporalHead, network: Compact) -> int:
        """Fit the temporal head, in place, to scores of windows of embeddings; returns the best step.

        Windows are shortened at random and jittered by a tenth of the embeddings' spread; both leave the
        statistics that the head reads nearly as they are.
        """
        windows, held_out = (
            embed(network, self.places.fixed(people, self.seed), self.camera, self.seed)
            for people in (self.train, self.held_out)
        )

        def unseen() -> Tensor:
            mean, sigma = head(held_out)
            return gaussian_nll(mean, sigma, self.held_out.score)

        best = Best(head, unseen)
        length = windows.shape[1]

        def loss() -> Tensor:
            rows = torch.randint(len(windows), (self.config.head.batch,))
            window = windows[rows, int(torch.randint(length // 4 + 1, ())) :]
            window = window + 0.1 * head.spread * torch.randn_like(window)
            mean, sigma = head(window)
            return gaussian_nll(mean, sigma, self.train.score[rows])

        self._run("head", head, list(head.parameters()), self.config.head, loss, best, decay=3e-2)
        return best.take()

    def unlabelled(self) -> Tensor:
        """Captured frames ``[n, 3, y, x]`` of the training people, without a word of who or what they show."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            sessions = torch.randint(len(self.train), (self.config.unlabelled,))
            moments = torch.randint(self.train.frames.shape[1], (self.config.unlabelled,))
            scenes = self.train.frames[sessions, moments].float()
            return self.camera.capture(scenes, self.places.draw(self.train.view[sessions]))

    def _captured(self, people: Pool) -> tuple[Tensor, Tensor]:
        """Four frames of every session as the camera sees them, and their factors."""
        few = glimpses(people)
        view = few.view.repeat_interleave(few.frames.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            frames = self.camera.capture(few.frames.flatten(0, 1).float(), self.places.draw(view))
        return frames, few.factors.flatten(0, 1)

    def _run(
        self,
        stage: str,
        module: nn.Module,
        parameters: list[nn.Parameter],
        fit: FitConfig,
        loss: Callable[[], Tensor],
        best: Best,
        decay: float,
    ) -> None:
        origin = [p.detach().clone() for p in parameters]
        optimiser = torch.optim.AdamW(parameters, fit.rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, fit.rate, total_steps=fit.steps)
        best.look(0)

        def step(number: int) -> Record:
            module.train()
            value = loss()
            pulls = [(p - o).square().sum() for p, o in zip(parameters, origin, strict=True)]
            optimiser.zero_grad()
            (value + self.config.anchor * torch.stack(pulls).sum()).backward()
            optimiser.step()
            schedule.step()
            if (number + 1) % CHECK == 0 or number + 1 == fit.steps:
                best.look(number + 1)
            return {"loss": float(value.detach())}

        run_stage(
            stage,
            fit.steps,
            step,
            {"module": module, "optimiser": optimiser, "schedule": schedule, "best": best},
            self.work,
            seed=self.seed,
            every=self.config.checkpoint_every,
            progress=self.progress,
        )


def align_statistics(network: nn.Module, frames: Tensor) -> None:
    """Let every batch normalisation take mean and variance from unlabelled frames ``[n, 3, y, x]``, in place.

    Adaptive batch normalisation (Li, Wang, Shi, Hou & Liu, Pattern Recognition 80, 2018): no label is needed and
    no weight moves. The network is left in evaluation mode.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # an average over all batches
    network.train()
    with torch.no_grad():
        for batch in frames.split(64):
            network(batch)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    network.eval()


def glimpses(people: Pool, count: int = 4) -> Pool:
    """The same sessions with ``count`` frames each, from first to last: successive frames of a face differ little."""
    moments = torch.linspace(0, people.frames.shape[1] - 1, count).long()
    frames, factors, landmarks = (v[:, moments] for v in (people.frames, people.factors, people.landmarks))
    return replace(people, frames=frames, factors=factors, landmarks=landmarks)
