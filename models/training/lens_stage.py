"""Stage one: lens, network and adversary together.

The network reads the factors of every frame (the auxiliary tasks of the paper; which tasks, which losses
and how privacy enters are this project's own choice). The adversary is a recogniser that is trained on
captured frames while the lens moves; it learns on most of the training people and is judged on the others,
so that the constraint is about people it has never met. It sees pairs of superpixels averaged, which costs a
quarter and, behind a lens that blurs over several of them, takes little from it; the read-out that follows
sees them all. The lens goes down the gradient of

    factor loss + multiplier · soft AUC of the adversary + guard + 10 · energy lost outside the window.

The adversary alone does not hold the lens: when the image sharpens faster than it learns, its AUC falls as it does
when the image blurs. And a mask that stops no frequency cannot be told from a missing one by the device. So
the guard asks for a stop band: it is the logarithm of the mean squared transfer beyond ``stop_edge`` over
``stop_transfer``, while that is above one.
"""

import torch
from torch import Tensor, nn

from opticaldr.models.networks import Compact, FactorScale, MarginSoftmax, Recogniser
from opticaldr.models.optics import OpticsSpec
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import LensConfig
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.loop import Progress, Record, Work, run_stage
from opticaldr.models.training.pool import Pool
from opticaldr.models.training.privacy import Multiplier, pair_scores, soft_auc, verification_auc

JUDGED = 0.3
"""Fraction of the training people on whom the adversary is judged and never trained."""


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
) -> tuple[Lens, Compact, list[Record]]:
    """Run the stage on the training people's scenes; returns lens, network and one record a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modes = config.modes or tuple(range(4, spec.mask.modes + 1))
        lens = Lens(spec, modes, depths, config.psf, config.start, torch.default_generator)
        size = spec.sensor.binned_shape[0]
        network = Compact(size=size).to(memory_format=torch.channels_last)
        adversary = Recogniser(size=size // 2).to(memory_format=torch.channels_last)
        known = pool.people - max(4, round(JUDGED * pool.people))
        identities = MarginSoftmax(known)
    multiplier = Multiplier(
        config.target_auc, config.weight, config.multiplier_rate if config.privacy == "constraint" else 0.0
    )
    batches = LensBatches(pool, known, config.batch)
    move_lens = torch.optim.Adam(lens.parameters(), config.lens_rate, betas=(0.8, 0.95))
    fit_network = torch.optim.Adam(network.parameters(), config.network_rate)
    against = [*adversary.parameters(), *identities.parameters()]
    fit_adversary = torch.optim.AdamW(against, config.adversary_rate, weight_decay=1e-2)
    warm_up = max(1, config.steps // 5)

    def step(number: int) -> Record:
        network.train()
        adversary.train()
        rows = batches.draw()
        scenes, truth = pool.draw(rows)
        error = config.tolerance * torch.randn(len(modes))
        bank = torch.stack([lens.psf(depth, error) for depth in range(len(depths))])
        captured = Camera(bank, spec.sensor).capture(scenes, pool.view[rows])
        seen = captured.detach().requires_grad_()

        for optimiser in (fit_network, fit_adversary, move_lens):
            optimiser.zero_grad()
        utility = (network.factors(network(seen)) - scale.standardise(truth)).square().mean()
        utility.backward()
        fit_network.step()

        embeddings = adversary(nn.functional.avg_pool2d(seen, 2))
        people = pool.subject[rows]
        met = people < known
        genuine, impostor = pair_scores(embeddings[~met], people[~met], rows[~met])
        leak = soft_auc(genuine, impostor)
        (away,) = torch.autograd.grad(leak, seen, retain_graph=True)
        recognised = identities(embeddings[met], people[met])
        recognised.backward(inputs=against)
        fit_adversary.step()

        assert seen.grad is not None
        lost = (1 - bank.sum(dim=(2, 3))).mean()
        passed = stop_band_transfer(bank, config.stop_edge)
        guard = torch.log((passed / config.stop_transfer).clamp(min=1.0))
        torch.autograd.backward([captured, guard + 10 * lost], [seen.grad + multiplier.value * away, None])
        move_lens.param_groups[0]["lr"] = config.lens_rate * min(1.0, (number + 1) / warm_up)
        move_lens.step()
        lens.limit()
        auc = verification_auc(genuine.detach(), impostor.detach())
        if number >= warm_up:
            multiplier.update(auc)
        return {
            "loss": float((utility + multiplier.value * leak + recognised).detach()),
            "factors": float(utility.detach()),
            "adversary": float(recognised.detach()),
            "auc": auc,
            "multiplier": float(multiplier.value),
            "lost": float(lost.detach()),
            "stop_transfer": float(passed.detach()),
            **{f"z{j}": 1e6 * a for j, a in lens.coefficients.items()},
        }

    parts: dict[str, nn.Module | torch.optim.Optimizer] = {
        "lens": lens,
        "network": network,
        "adversary": adversary,
        "identities": identities,
        "multiplier": multiplier,
        "move_lens": move_lens,
        "fit_network": fit_network,
        "fit_adversary": fit_adversary,
    }
    history = run_stage("lens", config.steps, step, parts, work, seed=seed, every=every, progress=progress)
    return lens, network, history


def stop_band_transfer(bank: Tensor, edge: float, grid: int = 64) -> Tensor:
    """Mean squared transfer of PSFs ``[..., y, x]`` at spatial frequencies beyond ``edge`` cycles a superpixel."""
    beyond = torch.hypot(torch.fft.fftfreq(grid)[:, None], torch.fft.rfftfreq(grid)) > edge
    transfer = torch.fft.rfft2(bank, (grid, grid)).abs().square()
    return transfer[..., beyond].mean()


class LensBatches:
    """Batches of two thirds of people that the adversary learns and one third of people it is judged on.

    Those it is judged on come in pairs of frames from different recordings, so that every batch holds
    genuine pairs.
    """

    def __init__(self, pool: Pool, known: int, batch: int) -> None:
        self.pool, self.known, self.batch = pool, known, batch
        self._learned = torch.nonzero(pool.subject < known).flatten()

    def draw(self) -> Tensor:
        """Sessions ``[n]``."""
        pairs = self.batch // 6
        rows = [self._learned[torch.randint(len(self._learned), (self.batch - 2 * pairs,))]]
        for person in (self.known + torch.randperm(self.pool.people - self.known)[:pairs]).tolist():
            own = torch.nonzero(self.pool.subject == person).flatten()
            rows.append(own[torch.randperm(len(own))[:2]])
        return torch.cat(rows)
