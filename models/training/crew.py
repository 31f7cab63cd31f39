"""The processes that train together: one, or as many as ``torchrun`` started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import distributed as dist

from opticaldr.errors import Refusal
from opticaldr.models.networks.parallel import processes, rank
from opticaldr.models.networks.precision import reduced_precision

T = TypeVar("T")


@contextmanager
def crew(precision: str, *batches: int) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did, for the length of a block.

    Lightning Fabric finds out about machines and backends; it is imported only where there are several processes.

    Args:
        precision: ``32-true``, or ``bf16-mixed`` for convolutions in bfloat16.
        batches: sizes of batches; each must divide among the processes.

    Raises:
        Refusal: a batch that does not.
    """
    with reduced_precision(torch.bfloat16) if precision == "bf16-mixed" else nullcontext():
        if (started := int(os.environ.get("WORLD_SIZE", "1"))) == 1:
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
                "Lightning Fabric is not installed; it runs several processes",
                "pip install 'opticaldr[design]'",
            ) from None
        local = int(os.environ.get("LOCAL_WORLD_SIZE", started))
        Fabric(accelerator="cpu", strategy="ddp", devices=local, num_nodes=started // local).launch()
        try:
            yield
        finally:
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
