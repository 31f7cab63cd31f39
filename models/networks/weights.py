"""Networks on disk: one safetensors file with network, head and the scale of the factors."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from opticaldr.errors import Refusal
from opticaldr.models.networks.compact import Compact
from opticaldr.models.networks.factors import FactorScale
from opticaldr.models.networks.temporal import TemporalHead


def save_networks(file: Path, network: Compact, head: TemporalHead, scale: FactorScale) -> None:
    """Write all weights under ``network.``, ``head.`` and ``factors.``."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    weights |= {f"head.{name}": value for name, value in head.state_dict().items()}
    weights |= {"factors.mean": scale.mean, "factors.spread": scale.spread}
    save_file({name: value.contiguous() for name, value in weights.items()}, file)


def load_networks(file: Path, size: int) -> tuple[Compact, TemporalHead, FactorScale]:
    """Read what `save_networks` wrote, in evaluation mode.

    Args:
        file: the safetensors file.
        size: rows and columns of the camera's frame in superpixels.

    Raises:
        Refusal: not such a file, or made for networks of another shape.
    """
    network, head = Compact(size=size), TemporalHead()
    try:
        weights = load_file(file)
        for prefix, part in (("network.", network), ("head.", head)):
            own = {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}
            part.load_state_dict(own)
        scale = FactorScale(weights["factors.mean"], weights["factors.spread"])
    except (SafetensorError, RuntimeError, KeyError, OSError):
        raise Refusal(f"{file} does not hold the networks of this version", "make it again") from None
    network.to(memory_format=torch.channels_last)
    return network.eval(), head.eval(), scale
