"""A small design with networks as they were initialised, and the calibration of a mask built a bit wrong."""

import json

import numpy as np
import pytest
import torch

from opticaldr.artefacts import create
from opticaldr.models.networks import FACTORS, Compact, FactorScale, TemporalHead, save_networks
from opticaldr.models.optics import Optic, preset, psf_bank, zernike_height
from opticaldr.models.training.config import DesignConfig, LensConfig, SubjectsConfig, config_toml

SURFACE = {4: 7e-6, 5: 3e-6, 8: 1.5e-6}
DEPTHS = (1.0, 1.2)
FIELDS = ((0.0, 0.0), (0.1, 0.05))


@pytest.fixture(scope="session")
def spec():
    """The clinic's camera with a smaller sensor, its pupil as coarsely sampled as these surfaces bear."""
    clinic = preset("clinic")
    return clinic.model_copy(
        update={
            "sensor": clinic.sensor.model_copy(update={"shape": (512, 512)}),
            "pupil": clinic.pupil.model_copy(update={"samples": 320}),
        }
    )


@pytest.fixture(scope="session")
def make_design(spec):
    def make(out, seed=0):
        with torch.random.fork_rng(devices=[]), create("design", out, seed=seed) as draft:
            torch.manual_seed(seed)
            network, head = Compact(size=spec.sensor.binned_shape[0]), TemporalHead()
            scale = FactorScale(torch.zeros(len(FACTORS)), torch.full((len(FACTORS),), 0.2))
            Optic(spec, zernike_height(SURFACE, spec)).write(draft.path)
            save_networks(draft.path / "networks.safetensors", network, head, scale)
            config = DesignConfig(
                subjects=SubjectsConfig(train=8, test=4, frames=6, depths=DEPTHS), lens=LensConfig(psf=25)
            )
            (draft.path / "config.toml").write_text(config_toml(config))
            figures = {
                "score": {"mae": 10.0, "mae_interval": [8.0, 12.0], "constant_mae": 11.0, "coverage": 0.6},
                "subjects": {"train": 8, "test": 4, "sessions": 2},
                "window": {"frames": 6, "fps": 1.0},
            }
            (draft.path / "metrics.json").write_text(json.dumps(figures))
        return draft.sealed()

    return make


@pytest.fixture(scope="session")
def built(spec):
    """The optic that came back from the workshop, and its PSFs as a bench would measure them."""
    optic = Optic(spec, zernike_height({**SURFACE, 6: 0.5e-6}, spec))
    return optic, psf_bank(optic.height, spec, DEPTHS, fields=FIELDS, shape=(161, 161), binned=False)


@pytest.fixture(scope="session")
def make_calibration(built):
    def make(out, parent, *, passed=True, temperature=300.0):
        optic, bank = built
        with create("calibration", out, parents=[parent]) as draft:
            np.savez(
                draft.path / "psf.npz",
                psf=bank.astype(np.float32),
                depths=np.array(DEPTHS),
                fields=np.array(FIELDS),
            )
            (draft.path / "gates.json").write_text(json.dumps({"gates": [{"name": "snr", "passed": passed}]}))
            (draft.path / "noise.json").write_text(json.dumps({"temperature_k": temperature}))
            (draft.path / "asbuilt").mkdir()
            optic.write(draft.path / "asbuilt")
        return draft.sealed()

    return make


@pytest.fixture(scope="session")
def design(make_design, tmp_path_factory):
    return make_design(tmp_path_factory.mktemp("design") / "design")


@pytest.fixture(scope="session")
def calibration(make_calibration, design, tmp_path_factory):
    return make_calibration(tmp_path_factory.mktemp("calibration") / "calibration", design)
