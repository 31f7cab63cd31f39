"""The networks: `Compact` on frames, `TemporalHead` on clips, and the recogniser they must not help."""

from opticaldr.models.networks.compact import FACTORS, Compact
from opticaldr.models.networks.recogniser import MarginSoftmax, Recogniser, fit_recogniser
from opticaldr.models.networks.temporal import TemporalHead, gaussian_nll

__all__ = [
    "FACTORS",
    "Compact",
    "MarginSoftmax",
    "Recogniser",
    "TemporalHead",
    "fit_recogniser",
    "gaussian_nll",
]
