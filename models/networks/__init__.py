"""The networks: `Compact` on frames, `TemporalHead` on clips, and the recogniser they must not help."""

from opticaldr.models.networks.compact import Compact
from opticaldr.models.networks.factors import FACTORS, FactorScale
from opticaldr.models.networks.recogniser import MarginSoftmax, Recogniser, fit_recogniser
from opticaldr.models.networks.temporal import TemporalHead, gaussian_nll
from opticaldr.models.networks.weights import load_networks, save_networks

__all__ = [
    "FACTORS",
    "Compact",
    "FactorScale",
    "MarginSoftmax",
    "Recogniser",
    "TemporalHead",
    "fit_recogniser",
    "gaussian_nll",
    "load_networks",
    "save_networks",
]
