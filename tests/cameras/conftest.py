import importlib.util
import pathlib

import pytest

from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic, preset, zernike_height

SIDE = 96


@pytest.fixture(scope="session")
def small_optic() -> Optic:
    """The clinic optic before a corner of its sensor, so that frames are quick."""
    spec = preset("clinic")
    sensor = spec.sensor.model_copy(update={"shape": (SIDE, SIDE)})
    spec = spec.model_copy(update={"sensor": sensor})
    return Optic(spec, zernike_height({7: 1e-6}, spec))


@pytest.fixture
def world(small_optic) -> World:
    """A bench with the shutter open and the source off."""
    world = World(optic=small_optic, shutter_command=True)
    world.advance(1.0)
    return world


@pytest.fixture
def load_double():
    """`load_double("v4l2")` loads the module of that name beside this file."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).parent / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
