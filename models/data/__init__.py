"""Where faces come from: simulated subjects, photographs, cameras; all in linear light."""

from opticaldr.models.data.clips import Clip
from opticaldr.models.data.colour import linear_to_srgb, srgb_bytes, srgb_to_linear
from opticaldr.models.data.photographs import (
    FaceDetector,
    list_people,
    read_people,
    read_photograph,
    scene_from_photograph,
)
from opticaldr.models.data.sources import Source, open_source
from opticaldr.models.data.subjects import SimulatedSubjects

__all__ = [
    "Clip",
    "FaceDetector",
    "SimulatedSubjects",
    "Source",
    "linear_to_srgb",
    "list_people",
    "open_source",
    "read_people",
    "read_photograph",
    "scene_from_photograph",
    "srgb_bytes",
    "srgb_to_linear",
]
