"""A few simulated people and a recogniser that knows them clean, for everybody in this room."""

import numpy as np
import pytest

from opticaldr.models.evaluation.alignment import align
from opticaldr.models.evaluation.attackers import Ground
from opticaldr.models.evaluation.faces import simulated_faces
from opticaldr.models.evaluation.populations import clean_recogniser
from opticaldr.models.evaluation.retraining import Schedule
from opticaldr.models.optics import preset

WIDTHS = [60.0, 45.0]
CROP = 48


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Results remembered in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def ground() -> Ground:
    """Forty people to learn from, sixteen to be tested on, at two depths."""
    train = simulated_faces(range(40), 3, 2, WIDTHS, seed=5, size=(96, 96))
    test = simulated_faces(range(100, 116), 3, 1, WIDTHS, seed=5, size=(96, 96))
    unknown = train.people >= 32
    crops = align(train.scenes, train.landmarks, CROP)[~unknown]
    clean = clean_recogniser(crops, train.people[~unknown], Schedule(12), seed=0)
    sensor = preset("clinic").sensor
    return Ground(
        train,
        test,
        [clean],
        clean,
        sensor,
        Schedule(3, learning_rate=2e-3),
        CROP,
        0,
        tune=np.flatnonzero(unknown),
        shown=np.arange(3),
    )
