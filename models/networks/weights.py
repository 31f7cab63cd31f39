"""Networks on disk: one safetensors file with network, head and the scale of the factors."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from opticaldr.errors import Refusal
from opticaldr.models.networks.compact import Compact
from opticaldr.models.networks.factors import FactorScale
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.networks.sanet import Sanet
from opticaldr.models.networks.temporal import TemporalHead

NETWORKS: dict[str, type[Compact] | type[Sanet]] = {kind.name: kind for kind in (Compact, Sanet)}


def frame_network(name: str, factors: int, size: int) -> FrameNetwork:
    """A fresh network by its name in a config, laid out in memory as processors like it."""
    return NETWORKS[name](factors=factors, size=size).to(memory_format=torch.channels_last)


def save_networks(file: Path, network: FrameNetwork, head: TemporalHead, scale: FactorScale) -> None:
    """Write all weights under ``network.``, ``head.`` and ``factors.``; which network, and which factors."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    weights |= {f"head.{name}": value for name, value in head.state_dict().items()}
    weights |= {"factors.mean": scale.mean, "factors.spread": scale.spread}
    # One entry, for the file keeps several in no order, and the same networks shall give the same file.
    about = {"networks": json.dumps({"frame": network.name, "factors": scale.names})}
    save_file({name: value.cpu().contiguous() for name, value in weights.items()}, file, about)


def load_networks(file: Path, size: int) -> tuple[FrameNetwork, TemporalHead, FactorScale]:
    """Read what `save_networks` wrote, in evaluation mode.

    Args:
        file: the safetensors file.
        size: rows and columns of the camera's frame in superpixels.

    Raises:
        Refusal: not such a file, or made for networks of another shape.
    """
    try:
        with safe_open(file, "pt") as stored:
            about = json.loads(stored.metadata()["networks"])
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        names = tuple(about["factors"])
        network, head = frame_network(about["frame"], len(names), size), TemporalHead()
        for prefix, part in (("network.", network), ("head.", head)):
            own = {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}
            part.load_state_dict(own)
        scale = FactorScale(weights["factors.mean"], weights["factors.spread"], names)
    except (SafetensorError, RuntimeError, KeyError, TypeError, OSError):
        raise Refusal(f"{file} does not hold the networks of this version", "make it again") from None
    return network.eval(), head.eval(), scale
