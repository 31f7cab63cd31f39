"""Down the gradient, as every small network that judges an optic is trained: AdamW, its rate over one cycle."""

from collections.abc import Callable, Iterator

import torch


def descend(
    network: torch.nn.Module,
    losses: Iterator[torch.Tensor],
    *,
    steps: int,
    rate: float,
    decay: float,
    progress: Callable[[int], None] = lambda step: None,
) -> None:
    """Take a step for each loss, and leave the network ready to be asked.

    Args:
        network: what is trained.
        losses: one a step, each computed when its turn comes, with the weights of then.
        steps: how many there are.
        rate: highest rate of the cycle.
        decay: of the weights.
        progress: told the number of every step that was taken.
    """
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    network.train()
    for step, loss in enumerate(losses, 1):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pace.step()
        progress(step)
    network.eval()
