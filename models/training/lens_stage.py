"""Stage one: lens, network and opponents together.

The network reads the factors of every frame (the auxiliary tasks of the paper; which tasks, which losses
and how privacy enters are this project's own choice). The opponents (`opponents`) learn on most of the training
people and are judged on the others, so that the constraint is about people they have never met. The lens
goes down the gradient of

    factor loss + multiplier · separation of the best opponent + guard + 10 · energy lost outside the window,

the separation being that of genuine and impostor pairs. For the first two fifths of the steps the lens stands
still, because the gradient of a network or an opponent that has not learned yet leads nowhere.

A mask that stops no frequency cannot be told from a missing one by the device. So the guard asks for a stop
band: it is the logarithm of the mean squared transfer beyond ``stop_edge`` over ``stop_transfer``, while that is
above one. The mean goes over all directions, so a lens may pass one direction and stop the other.
"""

import torch
from torch import Tensor, nn

from opticaldr.models.networks import FactorScale, FrameNetwork, factor_loss, frame_network
from opticaldr.models.networks.parallel import gathered, share
from opticaldr.models.optics import OpticsSpec
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import LensConfig
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.loop import Progress, Record, Work, run_stage
from opticaldr.models.training.opponents import Opponents
from opticaldr.models.training.pool import Pool
from opticaldr.models.training.privacy import Multiplier

JUDGED = 0.3
"""Fraction of the training people on whom the opponents are judged and never trained."""


def learn_lens(
    pool: Pool,
    spec: OpticsSpec,
    depths: tuple[float, ...],
    config: LensConfig,
    scale: FactorScale,
    work: Work,
    *,
    seed: int,
    every: int,
    progress: Progress,
    kind: str = "compact",
) -> tuple[Lens, FrameNetwork, list[Record]]:
    """Run the stage on the training people's scenes; returns lens, network (of a kind) and one record a step."""
    known = taught(pool)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modes = config.modes or tuple(range(4, spec.mask.modes + 1))
        lens = Lens(spec, modes, depths, config.psf, config.start, torch.default_generator, config.fan)
        lens.limit()
        network = frame_network(kind, len(scale.names), spec.sensor.binned_shape[0])
        opponents = Opponents(config.opponents, known, config.opponent_rate)
    multiplier = constraint(config)
    batches = LensBatches(pool, known, config.batch)
    move_lens = torch.optim.Adam(lens.parameters(), config.lens_rate, betas=(0.8, 0.95))
    fit_network = torch.optim.Adam(network.parameters(), config.network_rate)
    standing = 2 * config.steps // 5

    def step(number: int) -> Record:
        network.train()
        if number and number % config.redraw == 0:
            opponents.redraw(number // config.redraw % config.opponents)
        moving = number >= standing
        rows = share(batches.draw())
        scenes, truth, landmarks = pool.draw_faces(rows)
        with torch.set_grad_enabled(moving):
            bank = built_within(config.tolerance, lens, depths)
            captured = Camera(bank, spec.sensor).capture(scenes, pool.view[rows])
            penalty, unwanted = guard(bank, config)
        seen = captured.detach().requires_grad_()

        fit_network.zero_grad()
        utility = factor_loss(gathered(network.factors(network(seen))), scale.standardise(gathered(truth)))
        utility.backward()
        fit_network.step()

        leak, auc, recognised = opponents.study(seen, landmarks, pool.subject[rows], rows)
        if moving:
            (away,) = torch.autograd.grad(leak, seen)
            assert seen.grad is not None
            move_lens.zero_grad()
            pull = seen.grad + multiplier.value * away
            torch.autograd.backward([captured, penalty], [pull, None])
            move_lens.step()
            lens.limit()
            multiplier.update(auc)
        opponents.learn()
        return {
            "loss": float((utility + multiplier.value * leak).detach()) + recognised,
            "factors": float(utility.detach()),
            "opponents": recognised,
            "separation": float(leak.detach()),
            "auc": auc,
            "multiplier": float(multiplier.value),
            **unwanted,
            **{f"z{j}": 1e6 * a for j, a in lens.coefficients.items()},
        }

    parts: dict[str, nn.Module | torch.optim.Optimizer] = {
        "lens": lens,
        "network": network,
        "multiplier": multiplier,
        "move_lens": move_lens,
        "fit_network": fit_network,
        **dict(opponents.parts()),
    }
    history = run_stage("lens", config.steps, step, parts, work, seed=seed, every=every, progress=progress)
    return lens, network, history


def taught(pool: Pool) -> int:
    """How many people the opponents are taught; they are judged on the others."""
    return pool.people - max(4, round(JUDGED * pool.people))


def constraint(config: LensConfig) -> Multiplier:
    """The multiplier of the privacy constraint, or the fixed weight that stands in for it."""
    rate = config.multiplier_rate if config.privacy == "constraint" else 0.0
    return Multiplier(config.target_auc, config.weight, rate, max(config.most, config.weight))


def built_within(tolerance: float, lens: Lens, depths: tuple[float, ...]) -> Tensor:
    """PSFs ``[depth, colour, y, x]`` of the lens as it may be built, its modes off by ``tolerance`` RMS."""
    error = tolerance * torch.randn(len(lens.modes))
    return torch.stack([lens.psf(depth, error) for depth in range(len(depths))])


def guard(bank: Tensor, config: LensConfig) -> tuple[Tensor, Record]:
    """What is asked of the PSFs themselves: the stop band, and that light stays in the window; with its record."""
    lost = (1 - bank.sum(dim=(2, 3))).mean()
    passed = stop_band_transfer(bank, config.stop_edge)
    penalty = torch.log((passed / config.stop_transfer).clamp(min=1.0)) + 10 * lost
    return penalty, {"lost": float(lost.detach()), "stop_transfer": float(passed.detach())}


def stop_band_transfer(bank: Tensor, edge: float, grid: int = 64) -> Tensor:
    """Mean squared transfer of PSFs ``[..., y, x]`` at spatial frequencies beyond ``edge`` cycles a superpixel."""
    beyond = torch.hypot(torch.fft.fftfreq(grid)[:, None], torch.fft.rfftfreq(grid)) > edge
    transfer = torch.fft.rfft2(bank, (grid, grid)).abs().square()
    return transfer[..., beyond].mean()


class LensBatches:
    """Batches of one half of people whom the opponents learn and one half whom they are judged on.

    Those they are judged on come in pairs of frames from different recordings, so that every batch holds
    genuine pairs.
    """

    def __init__(self, pool: Pool, known: int, batch: int) -> None:
        self.pool, self.known, self.batch = pool, known, batch
        self._learned = torch.nonzero(pool.subject < known).flatten()

    def draw(self) -> Tensor:
        """Sessions ``[n]``."""
        pairs = min(self.batch // 4, self.pool.people - self.known)
        rows = [self._learned[torch.randint(len(self._learned), (self.batch - 2 * pairs,))]]
        for person in (self.known + torch.randperm(self.pool.people - self.known)[:pairs]).tolist():
            own = torch.nonzero(self.pool.subject == person).flatten()
            rows.append(own[torch.randperm(len(own))[:2]])
        return torch.cat(rows)
