"""The networks: `Compact` and `Sanet` on frames, `TemporalHead` on clips, and the recogniser they must not help."""

from opticaldr.models.networks.compact import Compact
from opticaldr.models.networks.factors import FACTORS, FactorScale, factor_loss, mirror
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.networks.recogniser import MarginSoftmax, Recogniser, fit_recogniser
from opticaldr.models.networks.sanet import Sanet
from opticaldr.models.networks.temporal import TemporalHead, gaussian_nll
from opticaldr.models.networks.weights import NETWORKS, frame_network, load_networks, save_networks

__all__ = [
    "FACTORS",
    "NETWORKS",
    "Compact",
    "FactorScale",
    "FrameNetwork",
    "MarginSoftmax",
    "Recogniser",
    "Sanet",
    "TemporalHead",
    "factor_loss",
    "fit_recogniser",
    "frame_network",
    "gaussian_nll",
    "load_networks",
    "mirror",
    "save_networks",
]
