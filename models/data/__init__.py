"""Where faces come from: simulated subjects, photographs, cameras; all in linear light."""

from opticaldr.models.data.clips import Clip
from opticaldr.models.data.colour import linear_to_srgb, srgb_bytes, srgb_to_linear
from opticaldr.models.data.subjects import SimulatedSubjects

__all__ = ["Clip", "SimulatedSubjects", "linear_to_srgb", "srgb_bytes", "srgb_to_linear"]
