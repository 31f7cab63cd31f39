"""Stage four: lens, network and head together at a low rate, the constraint kept.

Every batch holds pictures, for the factors and the opponents of the lens stage, and windows of clips, for the
head. Lens, network and head go down the gradient of

    factor loss + head's negative log-likelihood + multiplier · separation of the best opponent + guard
    + 10 · energy lost outside the window;

opponents and multiplier go on from where the lens stage left them. Clips pass the network with its normalisation
frozen, as they do when it is used.
"""

import torch
from torch import nn

from opticaldr.models.networks import FactorScale, FrameNetwork, TemporalHead, factor_loss, gaussian_nll
from opticaldr.models.networks.parallel import gathered, share
from opticaldr.models.optics import OpticsSpec
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import DesignConfig
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.lens_stage import LensBatches, built_within, constraint, guard, taught
from opticaldr.models.training.loop import Progress, Record, Stateful, Work, run_stage
from opticaldr.models.training.opponents import Opponents
from opticaldr.models.training.pool import Pool


def learn_together(
    lens: Lens,
    network: FrameNetwork,
    head: TemporalHead,
    pictures: Pool,
    clips: Pool,
    spec: OpticsSpec,
    config: DesignConfig,
    scale: FactorScale,
    work: Work,
    *,
    seed: int,
    progress: Progress,
) -> list[Record]:
    """Change lens, network and head in place; one record a step. Needs the lens stage's last checkpoint."""
    depths, joint, settings = config.subjects.depths, config.joint, config.lens
    known = taught(pictures)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        opponents = Opponents(settings.opponents, known, settings.opponent_rate)
    multiplier = constraint(settings)
    work.restore("lens", {**dict(opponents.parts()), "multiplier": multiplier})
    batches = LensBatches(pictures, known, settings.batch)
    ours = [*network.parameters(), *head.parameters()]
    move_lens = torch.optim.Adam(lens.parameters(), joint.lens_rate, betas=(0.8, 0.95))
    fit_networks = torch.optim.Adam(ours, joint.rate)
    time = clips.frames.shape[1]

    def step(number: int) -> Record:
        rows = share(batches.draw())
        scenes, truth, landmarks = pictures.draw_faces(rows)
        bank = built_within(settings.tolerance, lens, depths)
        camera = Camera(bank, spec.sensor)
        captured = camera.capture(scenes, pictures.view[rows])
        network.train()
        utility = factor_loss(
            gathered(network.factors(network(captured))), scale.standardise(gathered(truth))
        )

        seen = share(torch.randint(len(clips), (joint.windows,)))
        frames = camera.capture(
            clips.frames[seen].float().flatten(0, 1), clips.view[seen].repeat_interleave(time)
        )
        network.eval()
        head.train()
        mean, sigma = head(network(frames).unflatten(0, (-1, time)))
        likelihood = gaussian_nll(gathered(mean), gathered(sigma), clips.score[gathered(seen)])

        watched = captured.detach().requires_grad_()
        leak, auc, recognised = opponents.study(watched, landmarks, pictures.subject[rows], rows)
        (away,) = torch.autograd.grad(leak, watched)
        opponents.learn()

        penalty, unwanted = guard(bank, settings)
        move_lens.zero_grad()
        fit_networks.zero_grad()
        torch.autograd.backward([utility + likelihood + penalty, captured], [None, multiplier.value * away])
        move_lens.step()
        fit_networks.step()
        lens.limit()
        multiplier.update(auc)
        return {
            "loss": float((utility + likelihood + multiplier.value * leak).detach()) + recognised,
            "factors": float(utility.detach()),
            "likelihood": float(likelihood.detach()),
            "separation": float(leak.detach()),
            "auc": auc,
            "multiplier": float(multiplier.value),
            **unwanted,
            **{f"z{j}": 1e6 * a for j, a in lens.coefficients.items()},
        }

    parts: dict[str, Stateful | nn.Module] = {
        "lens": lens,
        "network": network,
        "head": head,
        "multiplier": multiplier,
        "move_lens": move_lens,
        "fit_networks": fit_networks,
        **dict(opponents.parts()),
    }
    every = config.checkpoint_every
    return run_stage("joint", joint.steps, step, parts, work, seed=seed, every=every, progress=progress)
