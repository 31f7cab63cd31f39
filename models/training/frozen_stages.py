"""The stages behind a lens that no longer moves: the network on frames, the temporal head on clips."""

import torch
from torch import Tensor

from opticaldr.models.networks import (
    FactorScale,
    FrameNetwork,
    MarginSoftmax,
    Recogniser,
    TemporalHead,
    factor_loss,
    gaussian_nll,
)
from opticaldr.models.networks.parallel import each, gathered, share
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import FitConfig
from opticaldr.models.training.loop import Progress, Record, Work, run_stage
from opticaldr.models.training.pool import Pool


def fit_network(
    network: FrameNetwork,
    scenes: Pool,
    camera: Camera,
    config: FitConfig,
    scale: FactorScale,
    work: Work,
    *,
    seed: int,
    every: int,
    progress: Progress,
    trained: str = "all",
    anchor: float = 0.0,
) -> list[Record]:
    """Fit the network, in place, to the factors of captured frames.

    Args:
        network: goes on from the weights it has.
        scenes: training people.
        camera: captures them anew in every step.
        config: steps, batch and the peak of a one-cycle rate.
        scale: of the factors.
        work: checkpoints.
        seed: of the batches.
        every: steps between two checkpoints.
        progress: of stage ``network``.
        trained: ``all``, or ``normalisation``: scales and shifts of the batch normalisation alone.
        anchor: pull towards the weights it came with, per squared unit, against forgetting (L2-SP: Li,
            Grandvalet & Davoine, ICML 2018).
    """
    parameters = [p for name, p in network.named_parameters() if trained == "all" or p.dim() == 1]
    origin = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, config.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps)

    def step(number: int) -> Record:
        network.train()
        rows = share(torch.randint(len(scenes), (config.batch,)))
        seen, truth = scenes.draw(rows)
        read = network.factors(network(camera.capture(seen, scenes.view[rows])))
        loss = factor_loss(gathered(read), scale.standardise(gathered(truth)))
        kept: Tensor | float = 0.0
        if anchor:
            kept = anchor * sum((p - o).square().sum() for p, o in zip(parameters, origin, strict=True))
        optimiser.zero_grad()
        (loss + kept).backward()
        optimiser.step()
        schedule.step()
        return {"loss": float(loss.detach())}

    parts = {"network": network, "optimiser": optimiser, "schedule": schedule}
    return run_stage("network", config.steps, step, parts, work, seed=seed, every=every, progress=progress)


def fit_head(
    head: TemporalHead,
    windows: Tensor,
    score: Tensor,
    config: FitConfig,
    work: Work,
    *,
    seed: int,
    every: int,
    progress: Progress,
) -> list[Record]:
    """Fit the temporal head, in place, to scores ``[r]`` of windows of embeddings ``[r, t, e]``.

    There are few sessions, so windows are shortened at random and their embeddings jittered by a tenth of
    their spread; both leave the statistics that the head reads nearly as they are.
    """
    optimiser = torch.optim.AdamW(head.parameters(), config.rate, weight_decay=3e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps)
    length = windows.shape[1]

    def step(number: int) -> Record:
        head.train()
        rows = share(torch.randint(len(windows), (config.batch,)))
        first = int(torch.randint(length // 4 + 1, ()))
        window = windows[rows, first:]
        window = window + 0.1 * head.spread * each(torch.randn, *window.shape)
        mean, sigma = head(window)
        loss = gaussian_nll(gathered(mean), gathered(sigma), score[gathered(rows)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return {"loss": float(loss.detach())}

    parts = {"head": head, "optimiser": optimiser, "schedule": schedule}
    return run_stage("head", config.steps, step, parts, work, seed=seed, every=every, progress=progress)


def fit_attacker(
    pool: Pool,
    camera: Camera,
    config: FitConfig,
    work: Work,
    *,
    stage: str,
    seed: int,
    every: int,
    progress: Progress,
) -> Recogniser:
    """Train a recogniser from scratch on captured frames of everybody in the pool whom somebody has named.

    Args:
        pool: people, numbered from 0.
        camera: captures them anew in every step.
        config: steps, batch and the peak of a one-cycle rate.
        work: checkpoints.
        stage: name of the stage.
        seed: of weights, batches and noise.
        every: steps between two checkpoints.
        progress: of the stage.

    Returns:
        The recogniser in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recogniser = Recogniser(size=pool.frames.shape[-1]).to(memory_format=torch.channels_last)
        identities = MarginSoftmax(int(pool.subject.max()) + 1)
    named = torch.nonzero(pool.subject >= 0).flatten()
    optimiser = torch.optim.AdamW(
        [*recogniser.parameters(), *identities.parameters()], config.rate, weight_decay=1e-2
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps)

    def step(number: int) -> Record:
        recogniser.train()
        rows = share(named[torch.randint(len(named), (config.batch,))])
        scenes, _ = pool.draw(rows)
        embeddings = gathered(recogniser(camera.capture(scenes, pool.view[rows])))
        loss = identities(embeddings, pool.subject[gathered(rows)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return {"loss": float(loss.detach())}

    parts = {"recogniser": recogniser, "identities": identities, "optimiser": optimiser, "schedule": schedule}
    run_stage(stage, config.steps, step, parts, work, seed=seed, every=every, progress=progress)
    return recogniser.eval()
