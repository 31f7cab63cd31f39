"""Where faces come from: simulated subjects, photographs, cameras; all in linear light."""

from opticaldr.models.data.clips import Clip
from opticaldr.models.data.colour import linear_to_srgb, srgb_bytes, srgb_to_linear
from opticaldr.models.data.dataset import SPLITS, DataSet, IncompleteDataSet, Recording, Split, Take
from opticaldr.models.data.filming import Shot, film_all
from opticaldr.models.data.opening import open_dataset
from opticaldr.models.data.photographs import (
    FaceDetector,
    list_people,
    read_people,
    read_photograph,
    scene_from_photograph,
)
from opticaldr.models.data.scenes import SceneCache, content_key
from opticaldr.models.data.sources import Source, open_source
from opticaldr.models.data.subjects import SimulatedSubjects

__all__ = [
    "SPLITS",
    "Clip",
    "DataSet",
    "FaceDetector",
    "IncompleteDataSet",
    "Recording",
    "SceneCache",
    "Shot",
    "SimulatedSubjects",
    "Source",
    "Split",
    "Take",
    "content_key",
    "film_all",
    "linear_to_srgb",
    "list_people",
    "open_dataset",
    "open_source",
    "read_people",
    "read_photograph",
    "scene_from_photograph",
    "srgb_bytes",
    "srgb_to_linear",
]
