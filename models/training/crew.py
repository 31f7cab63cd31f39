"""The processes that train together: one, or as many as ``torchrun`` started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed as dist

from opticaldr.errors import Refusal
from opticaldr.models.networks.parallel import processes, rank

T = TypeVar("T")


@contextmanager
def crew(precision: str, *batches: int) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did, for the length of a block.

    Lightning Fabric finds out about machines, devices and backends, and runs networks in mixed precision. It is
    imported only where one of the two is asked for.

    Args:
        precision: as Fabric calls it; ``32-true`` is plain.
        batches: sizes of batches; each must divide among the processes.

    Raises:
        Refusal: a batch that does not.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started == 1 and precision == "32-true":
        yield
        return
    if uneven := [batch for batch in batches if batch % started]:
        raise Refusal(
            f"a batch of {uneven[0]} does not divide among {started} processes",
            f"use batches that are multiples of {started}",
        )
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise Refusal(
            "Lightning Fabric is not installed; it runs several processes and mixed precision",
            "pip install 'opticaldr[design]'",
        ) from None
    accelerator = "cpu" if not torch.cuda.is_available() else "auto"
    if started == 1:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    else:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", started))
        fabric = Fabric(
            accelerator=accelerator,
            strategy="ddp",
            devices=local,
            num_nodes=started // local,
            precision=precision,
        )
    fabric.launch()
    try:
        with fabric.autocast():
            yield
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, on all of them."""
    if processes() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box)
    return box[0]  # type: ignore[return-value]


@contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process is through with before the others begin."""
    if processes() > 1 and rank() > 0:
        dist.barrier()
    yield
    if processes() > 1 and rank() == 0:
        dist.barrier()
